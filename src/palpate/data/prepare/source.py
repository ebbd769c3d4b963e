"""Sources: one interface to downloaded folders, zip and tar archives, without unpacking."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import BinaryIO, final

from palpate.data.prepare.archives import archive_members, is_archive
from palpate.data.prepare.member import Member
from palpate.data.problems import refuse

_CHUNK = 1 << 20
# Files that file managers leave behind.
_LITTER = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


@final
@dataclass(frozen=True, eq=False)
class Source:
    """Files of a download by name; made by :func:`open_source`. Thread-safe.

    Attributes:
        path: The folder or archive.
        members: All files by name, with ``/`` between folders, except files left by file managers.
            Files in an archive directly below the folder are named ``archive.zip/name``.
        doubts: Masks whose orientation was assumed and should be checked by eye.
        left_out: Files that the converter read and left out, by reason.
    """

    path: Path
    members: Mapping[str, Member]
    doubts: list[str] = field(default_factory=list)
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _checksums: dict[str, str] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @property
    def names(self) -> tuple[str, ...]:
        """Sorted names of all files."""
        return tuple(sorted(self.members))

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open a file as a stream, which may not be seekable.

        Raises:
            FileNotFoundError: If there is no file of this name.
            ValueError: If this file is damaged in the archive.
        """
        if name not in self.members:
            raise FileNotFoundError(f"Expected {self.label(name)}, which is not there.")
        with self.members[name].open() as stream:
            yield stream

    def read(self, name: str) -> bytes:
        """Read a file; raises the same errors as :meth:`open`."""
        with self.open(name) as stream:
            return stream.read()

    def size(self, name: str) -> int:
        """Size of a file in bytes, uncompressed."""
        return self.members[name].size

    def checksum(self, name: str) -> str:
        """SHA-256 of the content of a file; computed once and stored."""
        with self._lock:
            known = self._checksums.get(name)
        if known is None:
            digest = sha256()
            with self.open(name) as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
            known = digest.hexdigest()
            with self._lock:
                self._checksums[name] = known
        return known

    def label(self, name: str) -> str:
        """Name of a file in errors, with its archive."""
        return f"{self.path}: {name}" if self.path.is_file() else str(self.path / name)


@contextmanager
def open_source(path: str | Path) -> Iterator[Source]:
    """Open a download without unpacking it.

    Args:
        path: A folder, a ``.zip`` or a ``.tar`` (``.gz``, ``.bz2``, ``.xz``). Archives directly in
            the folder are opened too, since some data sets are published as several archives.

    Raises:
        FileNotFoundError: If the path does not exist.
        ValueError: If an archive is damaged, encrypted, of another format or a decompression bomb,
            or if a name or link leads outside.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"Expected a folder, a zip or a tar in {path}, which is not there. Check --source."
        )
    with ExitStack() as stack:
        if path.is_dir():
            members = _with_archives(_folder_members(path), path, stack)
        else:
            members = archive_members(path, stack)
        # Removed here once for all converters, which search for files by their extension.
        yield Source(path, {n: member for n, member in members.items() if not is_litter(n)})


def is_litter(name: str) -> bool:
    """Whether a file was left by a file manager, not by the publisher of the data.

    >>> is_litter("__MACOSX/images/._a.png"), is_litter("images/a.png")
    (True, False)
    """
    parts = name.split("/")
    return parts[-1].startswith("._") or any(part in _LITTER for part in parts)


def _with_archives(
    files: Mapping[str, Member], folder: Path, stack: ExitStack
) -> dict[str, Member]:
    members: dict[str, Member] = {}
    for name, member in files.items():
        if "/" not in name and is_archive(name):
            inner = archive_members(folder / name, stack)
            members |= {f"{name}/{inner_name}": each for inner_name, each in inner.items()}
        else:
            members[name] = member
    return members


def _folder_members(folder: Path) -> dict[str, Member]:
    """All files below a folder, by their relative names.

    Raises:
        ValueError: If links lead outside the folder or are broken.
    """
    root, strays = folder.resolve(), list[str]()
    paths = list(_files(root, root, strays))
    refuse(
        strays,
        f"Expected only files inside {folder}, got links that lead outside or nowhere",
        remedy="Copy the files there instead of linking them.",
    )
    return {
        path.relative_to(root).as_posix(): Member(path.stat().st_size, partial(_open_file, path))
        for path in paths
    }


def _open_file(path: Path) -> BinaryIO:
    return path.open("rb")


def _files(folder: Path, root: Path, strays: list[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        target = path.resolve() if path.is_symlink() else path
        if not target.exists() or not target.is_relative_to(root):
            strays.append(f"{path} -> {target}")
        elif path.is_dir():
            # A link to one of its parent folders would cause an infinite recursion.
            if not (path.is_symlink() and path.parent.is_relative_to(target)):
                yield from _files(path, root, strays)
        elif path.is_file():
            yield path
