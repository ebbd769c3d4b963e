"""Models of the user's own: ``package.module:factory``, or ``file.py:factory``."""

import copy
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
from torch import nn

from palpate.hints import did_you_mean
from palpate.models.pixel_model import PixelModel
from palpate.models.request import Request
from palpate.models.wrapped import Wrapped, wrap

# What stands behind the colon is looked at later: whoever wrote a colon meant code.
_CODE = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.\w+)*|.+\.py):(?P<factory>[^/\\:]*)")
_OF_WRAP = inspect.signature(wrap).parameters.keys() - {"module", "name"}


def is_code(name: str) -> bool:
    """Whether a name stands for a function that makes a model.

    >>> is_code("nets.mine:make"), is_code("nets/mine.py:make"), is_code("monai/unet")
    (True, True, False)
    """
    return _CODE.fullmatch(name) is not None and not Path(name).exists()


def load_external(request: Request) -> PixelModel:
    """Whatever the user's function makes; importing it runs the user's code.

    A network that the code has ready is a model, too, and is copied: each call gets one of its own,
    or else training one would change the others. The function gets the options, but for those of
    :func:`palpate.wrap`, and returns a :class:`PixelModel`, or a module or callable, which is
    wrapped with the latter. ``seed`` seeds torch while it is called.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the function is not there, refuses the options, or makes no model.
    """
    request.refuse_adapter()
    request.refuse_tokenizer()
    module, factory = _factory(request.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        made = _made(factory, _others(request.options), request.name)
        model = _as_model(_own(made, module), request)
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


def _factory(name: str) -> tuple[ModuleType, Callable[..., Any]]:
    """The user's module and the function in it that the name means."""
    found = _CODE.fullmatch(name)
    assert found is not None
    module, wanted = _imported(found["module"]), found["factory"]
    known = [
        key
        for key, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
    if not wanted:
        raise ValueError(
            f"Expected the name of a function behind the colon of {name!r}; {found['module']} has "
            f"{', '.join(known) or 'none'}."
        )
    if not hasattr(module, wanted):
        raise ValueError(
            f"There is no function {wanted!r} in {found['module']}.{did_you_mean(wanted, known)}"
        )
    factory = getattr(module, wanted)
    if not callable(factory):
        raise ValueError(
            f"Expected {name} to be a function that makes a model, got a {type(factory).__name__}."
        )
    return module, factory


def _made(factory: Callable[..., Any], options: Mapping[str, Any], name: str) -> Any:
    """What the function makes; a network is what it is."""
    if not isinstance(factory, nn.Module):
        return _call(factory, options, name)
    if options:
        raise ValueError(
            f"{name} is a network and no function that makes one, so it takes no options of its "
            f"own; leave out {', '.join(options)}."
        )
    return factory


def _own(made: Any, module: ModuleType) -> Any:
    """A copy of a network that the user's module keeps: the next call must find it as it was."""
    kept = isinstance(made, nn.Module) and any(value is made for value in vars(module).values())
    return copy.deepcopy(made) if kept else made


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
    signature = inspect.signature(factory)
    try:
        signature.bind(**options)
    except TypeError as error:
        missing, called = _missing(signature, options), name.rpartition(":")[2]
        if missing and options.keys() <= signature.parameters.keys():
            raise ValueError(
                f"Expected {name} to make a model without being told more, but it wants "
                f"{', '.join(missing)}. If these are options, give them (model.options); if "
                f"{called} is the model itself, name a function that returns it: "
                f"`def make(): return {called}`."
            ) from error
        raise ValueError(f"{name} does not take the options {dict(options)}: {error}.") from error
    try:
        return factory(**options)
    except Exception as error:
        raise ValueError(f"{name} makes no model: {_said(error)}.") from error


def _missing(signature: inspect.Signature, options: Mapping[str, Any]) -> list[str]:
    """Arguments without a default that nobody gave."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        key
        for key, parameter in signature.parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in variadic
        and key not in options
    ]


def _said(error: Exception) -> str:
    """What was raised, and in which line: without a traceback nobody would find it."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} (line {place.lineno} of {place.filename})"
