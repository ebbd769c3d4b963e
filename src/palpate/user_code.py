"""The user's code, named ``package.module:function`` or ``file.py:function``.

Models, attacks and losses can be given by such a name. Importing them runs the user's code.
"""

import importlib
import importlib.util
import inspect
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from palpate.errors import did_you_mean

_INSTALLED = ("stdlib", "platstdlib", "purelib", "platlib")

# Anything may follow the colon: a name with a colon is meant to be code, and errors say so.
_CODE = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.\w+)*|.+\.py):(?P<thing>[^/\\:]*)")

_PLACE = re.compile(r" at 0x[0-9a-fA-F]+")


def is_code(name: str) -> bool:
    """Whether a name stands for code of the user.

    >>> is_code("nets.mine:make"), is_code("nets/mine.py:make"), is_code("monai/unet")
    (True, True, False)
    """
    return _CODE.fullmatch(name) is not None and not Path(name).exists()


def load_code(name: str, what: str) -> tuple[ModuleType, Any]:
    """Import the module that a name names, and look up the callable in it.

    Args:
        name: ``package.module:function`` or ``file.py:function``.
        what: What the callable is to be, for error messages, such as ``"an attack"``.

    Returns:
        The module and the callable.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be imported, or has no such callable.
    """
    found = _CODE.fullmatch(name)
    assert found is not None
    module, wanted = _imported(found["module"]), found["thing"]
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
    thing = getattr(module, wanted)
    if not callable(thing):
        raise ValueError(f"Expected {name} to be {what}, got a {type(thing).__name__}.")
    return module, thing


def source_of(thing: object) -> str | None:
    """Hash of the source of a function or class; of its whole file if :func:`load_code` loaded it.

    None for parts of palpate, whose version identifies them, and for objects without source.
    """
    module = sys.modules.get(getattr(thing, "__module__", ""))
    if module is None or module.__name__.partition(".")[0] == "palpate":
        return None
    try:
        text = inspect.getsource(module if module.__name__ in _loaded else thing)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return None
    return sha256(text.encode()).hexdigest()[:16]


def text_of(thing: object) -> str:
    """The ``repr`` of an object without its memory address: the same in every process.

    >>> text_of(text_of)
    '<function text_of>'
    """
    return _PLACE.sub("", repr(thing))


def is_installed(thing: type) -> bool:
    """Whether a class belongs to Python or an installed package, whose version identifies it."""
    file = getattr(sys.modules.get(thing.__module__), "__file__", None)
    if file is None:  # built in, or typed into a session
        return thing.__module__ != "__main__"
    return any(Path(file).is_relative_to(place) for place in _installed_places())


@cache
def _installed_places() -> frozenset[Path]:
    paths = sysconfig.get_paths()  # slow, and asked for every class of every module of a model
    return frozenset(Path(paths[name]) for name in _INSTALLED)


def said(error: Exception) -> str:
    """An error as text, with the line that raised it.

    The line is the deepest one in the user's code, or else the deepest of all.
    """
    lines = traceback.extract_tb(error.__traceback__)
    place = ([line for line in lines if _is_of_the_user(line.filename)] or lines)[-1]
    return f"{type(error).__name__}: {error} (line {place.lineno} of {place.filename})"


def _is_of_the_user(file: str) -> bool:
    """Whether a file is the user's: not of palpate, Python or a package, and not generated code."""
    return not file.startswith("<") and not any(
        Path(file).is_relative_to(place) for place in (Path(__file__).parent, *_installed_places())
    )


_loaded: set[str] = set()


def _imported(name: str) -> ModuleType:
    try:
        module = _from_file(name) if name.endswith(".py") else _from_path(name)
    except FileNotFoundError:
        raise
    except (ImportError, SyntaxError) as error:
        raise ValueError(f"{name} cannot be imported: {error}.") from error
    except Exception as error:
        raise ValueError(f"{name} cannot be imported: {said(error)}.") from error
    _loaded.add(module.__name__)
    return module


def _from_path(name: str) -> ModuleType:
    with _current_folder_on_the_path():
        return importlib.import_module(name)


def _from_file(name: str) -> ModuleType:
    path = Path(name).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path} with code to import.")
    # A unique name, so that two files of the same name do not replace each other.
    unique = f"{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(unique, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def _current_folder_on_the_path() -> Iterator[None]:
    """Let Python find modules in the current folder; a console script looks beside itself."""
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
