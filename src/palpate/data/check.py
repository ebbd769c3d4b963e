"""Checks of all files of a split before a run, with all problems in one error."""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from palpate.data.annotations import FileEntry
from palpate.data.problems import refuse
from palpate.data.reading.decode import brightest_of_range, foreground, try_decoding
from palpate.data.reading.files import UnclearMask, naming, opened
from palpate.data.reading.orientation import check_shapes, orientations, turned_on_trust
from palpate.data.structures import refuse_unclear

_DARK = 1 / 8  # fraction of the 16-bit range; 12-bit data stored in 16 bits use a sixteenth
_THREADS = 4  # threads suffice: decoding releases the global interpreter lock


class _FileProblems(NamedTuple):
    fault: str | None = None
    on_trust: str | None = None
    dark: str | None = None
    unclear: UnclearMask | None = None
    has_foreground: bool = False


def check_paths(entries: Sequence[FileEntry], folder: Path) -> None:
    """Check that all files exist and are inside the folder, links resolved.

    Args:
        entries: Entries of a split.
        folder: Folder of the data set.

    Raises:
        FileNotFoundError: If files are missing.
        ValueError: If links lead outside ``folder``.
    """
    paths = dict.fromkeys(path for entry in entries for path in (entry.image, entry.mask))
    refuse(
        [str(path) for path in paths if not path.is_file()],
        "Expected these files, which are not there",
        FileNotFoundError,
        "Complete the data set, or take their entries out of the annotations.",
    )
    inside = folder.resolve()
    targets = {path: path.resolve() for path in paths}
    refuse(
        [f"{path} -> {to}" for path, to in targets.items() if inside not in to.parents],
        f"Expected only files inside {inside}, got links that lead outside",
        remedy="Copy the files there.",
    )


def check_files(entries: Sequence[FileEntry]) -> list[bool]:
    """Decode every image and mask once; JPEG images at an eighth of their size, which is faster.

    Warns of 16-bit images that use a small part of their range, and of masks whose EXIF orientation
    had to be guessed.

    Returns:
        Whether each mask has foreground.

    Raises:
        ValueError: If files cannot be read or masks do not fit their images; lists the problems.
        UnclearMasks: If masks are not binary and the entries do not say what their values mean.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        findings = list(pool.map(_inspect, entries))
    refuse(
        [finding.fault for finding in findings if finding.fault],
        "Expected readable images with fitting masks",
        remedy="Replace these files.",
    )
    refuse_unclear([finding.unclear for finding in findings if finding.unclear])
    dark = [finding.dark for finding in findings if finding.dark]
    if dark:
        warnings.warn(
            f"{len(dark)} images of 16 bits use at most an eighth of their range, such as "
            f"{dark[0]}; 65535 is white here, so that they are nearly black and a perturbation of "
            "8/255 is large beside them. Rescale them to 16 bits, or write them as 8 bits.",
            stacklevel=3,
        )
    on_trust = [finding.on_trust for finding in findings if finding.on_trust]
    if on_trust:
        warnings.warn(
            f"{len(on_trust)} images have an EXIF orientation and their masks have none, such as "
            f"{on_trust[0]}; the masks are turned like the images, which their sizes allow but do "
            "not prove. Look at one, and store images upright if it is wrong.",
            stacklevel=3,
        )
    return [finding.has_foreground for finding in findings]


def _inspect(entry: FileEntry) -> _FileProblems:
    """Problems of one image and its mask."""
    try:
        with opened(entry.image) as picture, opened(entry.mask) as drawing:
            check_shapes(picture, drawing, orientations(picture, drawing))
            on_trust = str(entry.mask) if turned_on_trust(picture, drawing) else None
            with naming(entry.image):
                try_decoding(picture)
                share = brightest_of_range(picture)
            with naming(entry.mask):
                has_foreground = bool(foreground(drawing, entry.rule).any())
    except UnclearMask as error:
        return _FileProblems(unclear=error)
    except ValueError as error:
        return _FileProblems(fault=str(error))
    dark = f"{entry.image} (up to {share * 65535:.0f})" if 0 < share <= _DARK else None
    return _FileProblems(on_trust=on_trust, dark=dark, has_foreground=has_foreground)
