"""Words for size and position, as measured on a mask."""

from dataclasses import dataclass

import numpy as np

from palpate.data.phantoms.canvas import Region
from palpate.text.positions import place_at

SIZES = ("small", "medium", "large")
# Fractions of the image area at which the annotations of Kvasir-SEG and ISIC 2016 change from one
# word to the next.
SMALL, LARGE = 0.085, 0.28


@dataclass(frozen=True)
class Attributes:
    """Words for a polyp or skin lesion, from which all of its prompts are composed."""

    structure: str
    size: str
    shape: str
    colour: str
    place: str


def size_word(mask: Region) -> str:
    """Word for the fraction of the image that a mask covers: small, medium or large."""
    area = float(mask.mean())
    return SIZES[int(area >= SMALL) + int(area >= LARGE)]


def place_word(mask: Region) -> str:
    """Word for the ninth of the image that contains the centroid of a mask.

    >>> import numpy as np
    >>> corner = np.zeros((9, 9), dtype=bool)
    >>> corner[:2, :2] = True
    >>> place_word(corner), place_word(np.ones((9, 9), dtype=bool))
    ('top left', 'center')
    """
    return place_at(*centroid(mask))


def centroid(mask: Region) -> tuple[float, float]:
    """Mean x and y of the foreground pixels, as fractions of width and height."""
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    return (float(columns.mean()) + 0.5) / width, (float(rows.mean()) + 0.5) / height
