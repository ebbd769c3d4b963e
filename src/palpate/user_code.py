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
from weakref import WeakKeyDictionary

from palpate.errors import did_you_mean
from palpate.located import located

_INSTALLED = ("stdlib", "platstdlib", "purelib", "platlib")
_PACKAGE_FOLDERS = ("site-packages", "dist-packages")  # the second is that of Debian's packages

# Anything may follow the colon: a name with a colon is meant to be code, and errors say so.
_CODE = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.\w+)*|.+\.py):(?P<thing>[^/\\:]*)")

_PLACE = re.compile(r" at 0x[0-9a-fA-F]+")
_HASH = re.compile(r"_[0-9a-f]{8}$")


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
    place, wanted = module_of(name)
    module = _imported(place)
    known = [
        key
        for key, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
    if not wanted:
        raise ValueError(
            f"Expected the name of a function behind the colon of {name!r}; {place} has "
            f"{', '.join(known) or 'none'}."
        )
    if not hasattr(module, wanted):
        raise ValueError(
            f"There is no function {wanted!r} in {place}.{did_you_mean(wanted, known)}"
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
    state = _modified(module), module.__name__ in _loaded
    kept = _sources.get(thing)
    if kept is None or kept[0] != state:
        kept = _sources[thing] = state, _hash_of_source(module if state[1] else thing)
    return kept[1]


# Hashes of functions and classes, with the state of the module at that time: finding the source of
# a class takes milliseconds, because its file is parsed.
_sources: WeakKeyDictionary[object, tuple[tuple[float | None, bool], str | None]] = (
    WeakKeyDictionary()
)


def _hash_of_source(thing: Any) -> str | None:
    try:
        text = inspect.getsource(thing)
    except (OSError, TypeError):
        return None
    return sha256(text.encode()).hexdigest()[:16]


def _modified(module: ModuleType) -> float | None:
    """Time at which the file of a module was modified; None without a file."""
    file = getattr(module, "__file__", None)  # modules written in C have none
    try:
        return None if file is None else Path(file).stat().st_mtime
    except OSError:
        return None


def module_of(name: str) -> tuple[str, str]:
    """Split a name of code into its module or file, and the name behind the colon.

    >>> module_of("nets/mine.py:make")
    ('nets/mine.py', 'make')
    """
    found = _CODE.fullmatch(name)
    assert found is not None
    return found["module"], found["thing"]


def lasting_name(module: str) -> str:
    """The name of a module; without its place if it is a file of the user, which may be moved."""
    return _HASH.sub("", module) if module in _loaded else module


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
    return _is_installed_file(file)


@cache
def _is_installed_file(file: str) -> bool:
    """Whether a file belongs to Python or an installed package.

    Packages may be outside the folder of the environment: in that of the base interpreter (a
    virtual environment with ``--system-site-packages``), of the user (``pip install --user``) or of
    conda, or in any folder on the path (``pip install --target``). A package that is installed
    editable is not installed in this sense: its code changes while its version stays.
    """
    path = Path(file)
    if any(path.is_relative_to(place) for place in _standard_library()):
        return True
    if any(folder.name in _PACKAGE_FOLDERS for folder in path.parents):
        return True
    return any(
        path.relative_to(place).as_posix() in _recorded(place)
        for place in map(Path, sys.path)
        if path.is_relative_to(place)
    )


@cache
def _standard_library() -> frozenset[Path]:
    """Folders of the standard library and of packages, of the environment and its base Python."""
    base = {"installed_base": sys.base_prefix, "installed_platbase": sys.base_exec_prefix}
    paths = (sysconfig.get_paths(), sysconfig.get_paths(vars=base))
    return frozenset(Path(found[name]) for found in paths for name in _INSTALLED)


@cache
def _recorded(place: Path) -> frozenset[str]:
    """Files of the packages whose lists of files (``RECORD``) are in a folder."""
    lists = place.glob("*.dist-info/RECORD")
    lines = (line for path in lists for line in path.read_text(encoding="utf-8").splitlines())
    return frozenset(line.rsplit(",", 2)[0] for line in lines)


def said(error: Exception) -> str:
    """An error as text, with the line that raised it.

    The line is the deepest one in the user's code, or else the deepest of all.
    """
    lines = traceback.extract_tb(error.__traceback__)
    place = ([line for line in lines if is_of_the_user(line.filename)] or lines)[-1]
    return f"{type(error).__name__}: {error} (line {place.lineno} of {place.filename})"


def is_of_the_user(file: str) -> bool:
    """Whether a file is the user's: not of palpate, Python or a package, and not generated code."""
    own = Path(file).is_relative_to(Path(__file__).parent)
    return not (file.startswith("<") or own or _is_installed_file(file))


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
    with on_the_path(Path.cwd()):
        return importlib.import_module(name)


def _from_file(name: str) -> ModuleType:
    path = located(name).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path} with code to import.")
    # A unique name, so that two files of the same name do not replace each other.
    unique = f"{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(unique, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with on_the_path(path.parent):  # for the modules beside it, as Python does for a script
        spec.loader.exec_module(module)
    return module


@contextmanager
def on_the_path(folder: Path) -> Iterator[None]:
    """Let Python find the modules in a folder; a console script looks beside itself only."""
    added = str(folder) not in sys.path
    if added:
        sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if added and str(folder) in sys.path:
            sys.path.remove(str(folder))
