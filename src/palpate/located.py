"""Where the files lie that a recipe names: as written, or, for a run that is repeated, elsewhere.

A recipe names files by paths relative to the folder in which it was started. A run that is repeated
by somebody else has copies of them in its run folder, or finds them at another place. The recipe
stays as it is, so that the repeated run has the same settings; only the places are exchanged.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_moved: dict[str, Path] = {}


def located(name: str | Path) -> Path:
    """The place of a file or folder that a recipe names."""
    return _moved.get(str(name), Path(name))


@contextmanager
def relocated(places: Mapping[str, Path], importable: Sequence[Path] = ()) -> Iterator[None]:
    """Look for files at other places than the recipe says, for as long as the context lasts.

    Args:
        places: Places by the names in the recipe.
        importable: Folders in which Python looks for modules first.
    """
    before, path, writes = dict(_moved), list(sys.path), sys.dont_write_bytecode
    _moved.update(places)
    sys.path[:0] = [str(folder) for folder in importable]
    sys.dont_write_bytecode = True  # importing a module leaves nothing in these folders
    try:
        yield
    finally:
        _moved.clear()
        _moved.update(before)
        sys.path[:] = path
        sys.dont_write_bytecode = writes
