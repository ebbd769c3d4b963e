"""Files that are whole or absent, however the process that writes them ends."""

import glob
import os
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

_SUFFIX = ".unfinished"
_HOST = socket.gethostname()
# Ends every temporary name of this machine; others may write to a shared disk, too.
_OWNER = re.compile(rf"\.{re.escape(_HOST)}-(\d+)-[0-9a-f]{{8}}{re.escape(_SUFFIX)}$")


@contextmanager
def replacing(path: Path, *, tidy: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it becomes ``path`` in one step.

    The temporary file lies in the folder of ``path``, so that the final rename is atomic, and is
    flushed to the disk first. If the body raises, ``path`` keeps its old content and the temporary
    file is removed. One that a killed process left behind is removed by the next write to the same
    path.

    Args:
        path: File to create or replace. Its folder must exist.
        tidy: Whether to look for such leftovers first. That lists the whole folder (0.1 s with
            20,000 files), so a writer of thousands of files passes False and calls
            :func:`remove_leftovers` once.

    Yields:
        A path that does not exist yet. The body must create the file with ``open`` or a library
        that does, so that its permissions are those that the umask gives.
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


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all, with newlines as they are."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files, at any depth, of processes on this machine that are gone."""
    _remove(folder.rglob(f".*{_SUFFIX}"))


def _flush(path: Path) -> None:
    # Without this a power failure may keep the new name and lose the content.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove(files: Iterable[Path]) -> None:
    for path in files:
        found = _OWNER.search(path.name)
        if found and not _is_running(int(found[1])):
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it runs under another user
    return True
