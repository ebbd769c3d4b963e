"""Finds the files of the user's code that a recipe names, and of the modules that it imports."""

import ast
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from palpate.located import located
from palpate.user_code import is_of_the_user, on_the_path

LARGEST = 64 * 2**20  # bytes; larger files are not copied
_MOST = 500  # files; a package with more is no code of this run


@dataclass(frozen=True)
class Found:
    """A file of a run.

    Attributes:
        name: Its name in the recipe; empty if another file imports it.
        file: Its place.
        copied: Whether it is small enough to be copied into the run folder.
    """

    name: str
    file: Path
    copied: bool = True


def code_files(module: str) -> Iterator[tuple[str, Found]]:
    """List the files of a module of the user, and those that it imports or names.

    These are all modules of the user that it imports, and files that the code names in plain
    strings, such as weights.

    Args:
        module: ``file.py`` or ``package.module``, as in a recipe.

    Yields:
        The place of each file below ``sources/``, with the file.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    seen: set[Path] = set()
    for place, found in _modules(module, seen):
        yield place, found
        yield from _named_files(found.file, PurePosixPath(place).parent)


def _modules(module: str, seen: set[Path]) -> Iterator[tuple[str, Found]]:
    if not module.endswith(".py"):
        yield from _imported(module.partition(".")[0], Path.cwd(), PurePosixPath(), seen)
        return
    file = located(module).resolve()
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {file} with code to import.")
    place = PurePosixPath(mirrored(module))
    seen.add(file)
    yield place.as_posix(), Found(module, file)
    for name in _names(file):
        yield from _imported(name, file.parent, place.parent, seen)


def mirrored(name: str) -> str:
    """The place of a file below ``sources/``, from its name in the recipe.

    >>> mirrored("attacks/mine.py"), mirrored("../mine.py")
    ('attacks/mine.py', 'outside/5ec1f7e7/mine.py')
    """
    path = PurePosixPath(Path(name).as_posix())
    if not path.is_absolute() and ".." not in path.parts:
        return path.as_posix()
    parent = sha256(path.parent.as_posix().encode()).hexdigest()[:8]
    return f"outside/{parent}/{path.name}"


def installed_package(module: str) -> str | None:
    """The version of the installed package that has a module; None for the user's own files."""
    top = module.partition(".")[0]
    if module.endswith(".py"):
        return None
    with on_the_path(Path.cwd()):
        spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None or is_of_the_user(spec.origin):
        return None
    owners = importlib.metadata.packages_distributions().get(top, [])
    return importlib.metadata.version(owners[0]) if owners else "unknown"


def _imported(
    name: str, folder: Path, place: PurePosixPath, seen: set[Path]
) -> Iterator[tuple[str, Found]]:
    """The files of a module that a file in ``folder`` imports, if it is the user's."""
    origin = _origin(name, folder)
    if origin is None:
        return
    if not is_of_the_user(str(origin)) or origin.suffix != ".py" or origin in seen:
        return
    is_package = origin.name == "__init__.py"
    root = origin.parent.parent if is_package else origin.parent
    # A module from elsewhere on Python's path goes to the top, which is on the path of a rerun.
    top = place if root == folder.resolve() else PurePosixPath()
    files = sorted(origin.parent.rglob("*.py")) if is_package else [origin]
    for file in files[:_MOST]:
        if file not in seen:
            seen.add(file)
            yield (top / file.relative_to(root).as_posix()).as_posix(), Found("", file)
    for file in files[:_MOST]:
        for inner in _names(file):
            yield from _imported(inner, root, top, seen)


def _origin(name: str, folder: Path) -> Path | None:
    """The file of a module: beside the code, or else where Python finds it."""
    for beside in (folder / f"{name}.py", folder / name / "__init__.py"):
        if beside.is_file():
            return beside.resolve()
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return None
    return Path(spec.origin).resolve()


def _named_files(file: Path, place: PurePosixPath) -> Iterator[tuple[str, Found]]:
    """Files that a string in the code names, beside the code or in the current folder."""
    texts = {
        node.value
        for node in ast.walk(_parsed(file))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    for text in sorted(text for text in texts if _may_be_a_file(text)):
        for folder, top in ((file.parent, place), (Path.cwd(), PurePosixPath())):
            named = folder / text
            if named.is_file() and named.stat().st_size <= LARGEST:
                yield (top / text).as_posix(), Found("", named)


def _may_be_a_file(text: str) -> bool:
    path = PurePosixPath(text)
    return (
        0 < len(text) < 200
        and text.isprintable()
        and path.suffix not in ("", ".py")
        and not path.is_absolute()
        and ".." not in path.parts
    )


def _names(file: Path) -> list[str]:
    """First parts of the names of all modules that a file imports, also inside functions."""
    names: dict[str, None] = {}
    for node in ast.walk(_parsed(file)):
        if isinstance(node, ast.Import):
            names |= dict.fromkeys(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names[node.module.partition(".")[0]] = None
    return list(names)


def _parsed(file: Path) -> ast.AST:
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):  # found again, and told, when it is imported
        return ast.Module([], [])
