"""Files that are whole or absent, whenever the process is killed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name to write to; what was written becomes ``path`` in one step.

    When the body raises, ``path`` stays as it was and the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.unfinished")
    try:
        yield temporary
        _reach_the_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _reach_the_disk(path: Path) -> None:
    # Without this a power failure may keep the new name and lose the content.
    with path.open("rb+") as file:
        os.fsync(file.fileno())
