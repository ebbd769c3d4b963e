"""Atomic file writes: a file is written completely or not at all, even if the process is killed."""

import glob
import os
import re
import socket
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

_SUFFIX = ".unfinished"
_HOST = socket.gethostname()
# Suffix of the temporary names of this machine. On a shared disk, the files of other machines must
# be left alone, because their processes cannot be checked from here.
_OWNER = re.compile(rf"\.{re.escape(_HOST)}-(\d+)-[0-9a-f]{{8}}{re.escape(_SUFFIX)}$")


@contextmanager
def replacing(path: Path, *, tidy: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to ``path`` on success.

    The temporary file is in the folder of ``path``, so that the rename is atomic, and is flushed to
    the disk before it. If the body raises, ``path`` keeps its old content and the temporary file is
    removed. The next write to the same path removes temporary files of killed processes.

    Args:
        path: File to create or replace. Its folder must exist.
        tidy: Whether to remove temporary files of killed processes first. This lists the whole
            folder (0.1 s with 20,000 files), so a writer of thousands of files should pass False
            and call :func:`remove_leftovers` once.

    Yields:
        A path that does not exist yet. The body must create the file with ``open`` or a library
        that does, so that its permissions follow the umask.
    """
    if tidy:
        _remove(path.parent.glob(f".{glob.escape(path.name)}.*{_SUFFIX}"))
    name = f".{path.name}.{_HOST}-{os.getpid()}-{uuid4().hex[:8]}{_SUFFIX}"
    temporary = path.with_name(name)
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def removed_if_failed(folder: Path, records: Collection[str]) -> Iterator[None]:
    """Remove what a failed body left in a folder, if it is nothing but records of its settings.

    Otherwise a run that fails before its first result would leave a folder that refuses the next
    run for having other settings. Nothing is removed that was there before, and nothing at all if
    there are other new files, which are results.

    Args:
        folder: Folder that the body creates or writes to.
        records: Names of files, and of folders in it, that are written before there are results.
    """
    before = _files(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except BaseException:  # KeyboardInterrupt as well
        new = _files(folder) - before
        if all({path.name, path.relative_to(folder).parts[0]} & {*records} for path in new):
            for path in new:
                path.unlink(missing_ok=True)
            inside = sorted({path.parent for path in new} | {*_folders(folder)}, reverse=True)
            for place in (*(p for p in inside if folder in p.parents), *made):
                _remove_empty(place)
        raise


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_dir())


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # not empty, or another process works in it
        folder.rmdir()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically, without converting newlines."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of finished processes of this machine, also in subfolders."""
    _remove(folder.rglob(f".*{_SUFFIX}"))


def _flush(path: Path) -> None:
    # Without fsync, the rename may survive a power failure while the content is lost.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove(files: Iterable[Path]) -> None:
    for path in files:
        found = _OWNER.search(path.name)
        if found and not _is_running(int(found[1])):
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 only checks whether the process exists
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it runs under another user
    return True
