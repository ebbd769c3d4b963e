"""A file of a source, and checks of file names in archives."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from palpate.data.problems import refuse


@dataclass(frozen=True)
class Member:
    """A file of a folder or archive.

    Attributes:
        size: Size in bytes, uncompressed.
        open: Opens the file for reading.
    """

    size: int
    open: Callable[[], AbstractContextManager[BinaryIO]]


def refuse_unsafe(names: Iterable[str], path: Path) -> None:
    """Raise an error for names that lead outside the archive on any operating system.

    Raises:
        ValueError: If there are such names; the first ten are listed.
    """
    refuse(
        [name for name in names if leads_outside(name)],
        f"Expected only names inside the archive {path}, got some that lead outside",
        remedy="Do not trust this file; download it from its publisher.",
    )


def leads_outside(name: str) -> bool:
    """Whether a name leads outside its folder, on POSIX or Windows.

    >>> [leads_outside(name) for name in ("a/b.png", "../b.png", "/etc/b", "C:b.png")]
    [False, True, True, True]
    """
    windows = PureWindowsPath(name)
    return bool(windows.drive or windows.root) or ".." in windows.parts or "\0" in name


def link_target(name: str, target: str) -> str | None:
    """Name of the file that a link points to; None if that is outside the archive.

    >>> link_target("a/b/link", "../c.png"), link_target("link", "../c.png")
    ('a/c.png', None)
    """
    if target.startswith("/") or PureWindowsPath(target).drive:
        return None
    parts: list[str] = []
    for part in (PurePosixPath(name).parent / target).parts:
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            return None
    return "/".join(parts)
