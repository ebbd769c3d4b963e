"""Files that are whole or absent, however the process that writes them ends."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

_SUFFIX = ".unfinished"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it becomes ``path`` in one step.

    The temporary file lies in the folder of ``path``, so that the final rename is atomic, and is
    flushed to the disk first. If the body raises, ``path`` keeps its old content and the temporary
    file is removed. One that a killed process left behind is removed by the next write to the same
    path.

    Args:
        path: File to create or replace. Its folder must exist.

    Yields:
        A path that does not exist yet. The body must create the file with ``open`` or a library
        that does, so that its permissions are those that the umask gives.
    """
    _remove_leftovers(path)
    name = f".{path.name}.{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}{_SUFFIX}"
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


def _flush(path: Path) -> None:
    # Without this a power failure may keep the new name and lose the content.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of ``path`` whose process, on this machine, is gone."""
    start = f".{path.name}.{socket.gethostname()}-"
    for found in path.parent.glob(f".*{_SUFFIX}"):
        if found.name.startswith(start) and not _is_running(found.name[len(start) :]):
            found.unlink(missing_ok=True)


def _is_running(rest: str) -> bool:
    process = rest.split("-", 1)[0]
    if not process.isdigit():
        return True  # not a name of ours
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it runs under another user
    return True
