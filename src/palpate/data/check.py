"""Finding every bad file before any work starts."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from palpate.data.annotations import Entry
from palpate.data.pixels import binary, check_shapes, naming, opened, orientations
from palpate.data.problems import refuse

_THREADS = 4  # decoding releases the interpreter's lock


def check_files(entries: Sequence[Entry], folder: Path) -> None:
    """Decode every image and mask once, JPEG images at an eighth of their size.

    Raises:
        FileNotFoundError: If files are missing.
        ValueError: If files lead outside ``folder``, cannot be read or do not fit each other.
    """
    paths = dict.fromkeys(path for entry in entries for path in (entry.image, entry.mask))
    refuse(
        [str(path) for path in paths if not path.is_file()],
        "Expected these files, which are not there",
        FileNotFoundError,
        "Complete the data set, or take their entries out of the annotations.",
    )
    inside = folder.resolve()
    refuse(
        [f"{path} -> {path.resolve()}" for path in paths if inside not in path.resolve().parents],
        f"Expected only files inside {inside}, got links that lead outside",
        remedy="Copy the files there.",
    )
    with ThreadPoolExecutor(_THREADS) as pool:
        faults = [fault for fault in pool.map(_fault, entries) if fault]
    refuse(faults, "Expected readable images with fitting masks", remedy="Replace these files.")


def _fault(entry: Entry) -> str | None:
    try:
        with opened(entry.image) as picture, opened(entry.mask) as drawing:
            check_shapes(picture, drawing, orientations(picture, drawing))
            with naming(entry.image):
                picture.draft(None, (1, 1))
                picture.load()
            with naming(entry.mask):
                binary(drawing)
    except ValueError as error:
        return str(error)
    return None
