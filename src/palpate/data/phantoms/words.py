"""Words for what can be measured on a mask."""

from dataclasses import dataclass

import numpy as np

from palpate.data.phantoms.canvas import Region
from palpate.text.positions import place_at

SIZES = ("small", "medium", "large")
# Where the annotators of Kvasir-SEG and ISIC 2016 changed from one word to the next, as parts of
# the image area.
SMALL, LARGE = 0.085, 0.28


@dataclass(frozen=True)
class Attributes:
    """What can be said of a polyp or a skin lesion; every text about it is made of these words."""

    structure: str
    size: str
    shape: str
    colour: str
    place: str


def size_word(mask: Region) -> str:
    """Small, medium or large by the part of the image that is covered."""
    area = float(mask.mean())
    return SIZES[int(area >= SMALL) + int(area >= LARGE)]


def place_word(mask: Region) -> str:
    """Which ninth of the image holds the centroid.

    >>> import numpy as np
    >>> corner = np.zeros((9, 9), dtype=bool)
    >>> corner[:2, :2] = True
    >>> place_word(corner), place_word(np.ones((9, 9), dtype=bool))
    ('top left', 'center')
    """
    return place_at(*centroid(mask))


def centroid(mask: Region) -> tuple[float, float]:
    """Mean x and y of the foreground, in [0, 1]."""
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    return (float(columns.mean()) + 0.5) / width, (float(rows.mean()) + 0.5) / height
