"""List of all checks, and the finding of a check."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["error", "warning", "note"]

# In the order of the report. JSON output and scripts use these names: do not rename them.
CHECKS = {
    "annotations": "annotation files can be read and every entry used",
    "missing": "every annotated image and mask is there",
    "unlisted": "every image and mask is annotated",
    "links": "no link leads outside the folder",
    "repeated": "no entry is listed twice in one split",
    "keys": "no two entries of a split have the same key",
    "names": "one name means one image",
    "counts": "as many images as the official set",
    "unreadable": "every file decodes to its end",
    "sizes": "masks have the size of their images",
    "binary": "masks are black and white",
    "empty": "masks have foreground",
    "full": "masks have background",
    "inverted": "foreground and background are not exchanged",
    "duplicates": "no image is there twice within a split",
    "near-duplicates": "nor twice in another size, compression, brightness or orientation",
    "leak-name": "splits share no image by name",
    "leak-content": "splits share no image by its pixels",
    "leak-near": "nor by near-duplicates",
    "leak-group": "splits share no patient or other group",
    "same-annotations": "no two sets have the same annotations",
    "shared-images": "no two sets share images",
}
# fmt: off
NEEDS_PIXELS = frozenset((
    "unreadable", "sizes", "binary", "empty", "full", "inverted", "duplicates", "near-duplicates",
    "leak-content", "leak-near", "shared-images",
))
# fmt: on
# Checks of several data sets against each other.
ACROSS = frozenset(("same-annotations", "shared-images"))


@dataclass(frozen=True)
class Finding:
    """A finding of a check, with the files concerned.

    Attributes:
        check: One of ``CHECKS``.
        severity: ``error`` if results on the data would be wrong, ``warning`` if they may be wrong,
            ``note`` otherwise.
        message: One or two sentences: what was found, and what to do.
        files: All files or entries concerned; paths are relative to the folder of the data set.
    """

    check: str
    severity: Severity
    message: str
    files: tuple[str, ...] = ()
