"""Models of the user's own: ``package.module:factory``, or ``file.py:factory``."""

import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from palpate.hints import did_you_mean
from palpate.models.pixel_model import PixelModel
from palpate.models.request import Request
from palpate.models.wrapped import Wrapped, wrap

_CODE = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.\w+)*|.+\.py):(?P<factory>[A-Za-z_]\w*)")
_OF_WRAP = inspect.signature(wrap).parameters.keys() - {"module", "name"}


def is_code(name: str) -> bool:
    """Whether a name stands for a function that makes a model.

    >>> is_code("nets.mine:make"), is_code("nets/mine.py:make"), is_code("monai/unet")
    (True, True, False)
    """
    return _CODE.fullmatch(name) is not None and not Path(name).exists()


def load_external(request: Request) -> PixelModel:
    """Whatever the user's function makes; importing it runs the user's code.

    The function gets the options, but for those of :func:`palpate.wrap`, and returns a
    :class:`PixelModel`, or a module or callable, which is wrapped with the latter. ``seed`` seeds
    torch while it is called.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the function is not there, refuses the options, or makes no model.
    """
    request.refuse_adapter()
    request.refuse_tokenizer()
    factory = _factory(request.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        model = _as_model(_call(factory, _others(request.options), request.name), request)
    model.name = request.name
    if isinstance(model, Wrapped):
        model.options, model.origin = dict(request.options), "code of your own"
        model.seed = request.seed
    model.requires_grad_(False)
    return model


def _as_model(made: object, request: Request) -> PixelModel:
    for_wrap = {k: v for k, v in request.options.items() if k in _OF_WRAP}
    if isinstance(made, PixelModel):
        if for_wrap:
            raise ValueError(
                f"{request.name} makes a model that is wrapped already; leave out "
                f"{', '.join(for_wrap)}."
            )
        return made
    if not callable(made):
        raise ValueError(
            f"Expected {request.name} to make a module or another callable, got a "
            f"{type(made).__name__}."
        )
    return wrap(made, **for_wrap, name=request.name)


def _factory(name: str) -> Callable[..., Any]:
    found = _CODE.fullmatch(name)
    assert found is not None
    module = _imported(found["module"])
    factory = getattr(module, found["factory"], None)
    if not callable(factory):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise ValueError(
            f"There is no function {found['factory']!r} in {found['module']}."
            f"{did_you_mean(found['factory'], known)}"
        )
    return factory  # type: ignore[no-any-return]


def _imported(name: str) -> ModuleType:
    try:
        if not name.endswith(".py"):
            with _current_folder_on_the_path():
                return importlib.import_module(name)
        path = Path(name).resolve()
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path} to make a model with.")
        # A name of its own, so that two files called alike do not get in each other's way.
        spec = importlib.util.spec_from_file_location(_module_name(path), path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    except FileNotFoundError:
        raise
    except (ImportError, SyntaxError) as error:
        raise ValueError(f"{name} cannot be imported: {error}.") from error
    except Exception as error:
        raise ValueError(f"{name} cannot be imported: {_said(error)}.") from error
    return module


def _module_name(path: Path) -> str:
    return f"{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"


@contextmanager
def _current_folder_on_the_path() -> Iterator[None]:
    """A console script looks for modules beside itself, not where the user is."""
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


def _others(options: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in options.items() if k not in _OF_WRAP}


def _call(factory: Callable[..., Any], options: Mapping[str, Any], name: str) -> Any:
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        raise ValueError(f"{name} does not take the options {dict(options)}: {error}.") from error
    try:
        return factory(**options)
    except Exception as error:
        raise ValueError(f"{name} makes no model: {_said(error)}.") from error


def _said(error: Exception) -> str:
    """What was raised, and in which line: without a traceback nobody would find it."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} (line {place.lineno} of {place.filename})"
