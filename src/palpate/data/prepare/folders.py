"""The files of a folder, with links only to what is inside."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from palpate.data.prepare.member import Member
from palpate.data.problems import refuse

# What file managers leave behind; no data set means them.
_LITTER = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


def folder_members(folder: Path) -> dict[str, Member]:
    """Every file below a folder by its name relative to it.

    Raises:
        ValueError: If links lead outside the folder, or nowhere.
    """
    root, strays = folder.resolve(), list[str]()
    paths = list(_files(root, root, strays))
    refuse(
        strays,
        f"Expected only files inside {folder}, got links that lead outside or nowhere",
        remedy="Copy the files there instead of linking them.",
    )
    return {
        path.relative_to(root).as_posix(): Member(path.stat().st_size, partial(_opened, path))
        for path in paths
    }


def is_litter(name: str) -> bool:
    """Whether a file manager made a file, rather than the publisher of the data.

    >>> is_litter("__MACOSX/images/._a.png"), is_litter("images/a.png")
    (True, False)
    """
    parts = name.split("/")
    return parts[-1].startswith("._") or any(part in _LITTER for part in parts)


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


def _files(folder: Path, root: Path, strays: list[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        target = path.resolve() if path.is_symlink() else path
        if not target.exists() or not target.is_relative_to(root):
            strays.append(f"{path} -> {target}")
        elif path.is_dir():
            # A link to a folder that it lies in would go on for ever.
            if not (path.is_symlink() and path.parent.is_relative_to(target)):
                yield from _files(path, root, strays)
        elif path.is_file():
            yield path
