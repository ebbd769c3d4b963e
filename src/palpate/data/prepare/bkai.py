"""BKAI-IGH NeoPolyp: ``train/train`` and ``train_gt/train_gt``, as the Kaggle competition has them.

Masks are coloured, red where a polyp is neoplastic and green where it is not, and stored as JPEG.
The test images have no masks there, and ``sample_submission.csv`` has none either; it is ignored.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_opening

from palpate.data.prepare.converter import Converter
from palpate.data.prepare.item import Item
from palpate.data.prepare.layout import (
    Layout,
    pair_item,
    pairs_of,
    pictures,
    wrong,
)
from palpate.data.prepare.source import Source

_LAYOUTS = [Layout("train/train", "train_gt/train_gt"), Layout("train", "train_gt")]
_HALF = 128
# JPEG keeps colour at half the resolution, which blurs red into green over some pixels.
_BLUR = np.ones((5, 5), dtype=np.bool_)


def find(source: Source) -> list[Item]:
    """One item per image; both kinds of polyp are foreground."""
    folders = pictures(source)
    pairs = pairs_of(source, folders, _LAYOUTS)
    if not pairs:
        raise wrong(source, folders, "train/train and train_gt/train_gt of BKAI-IGH NeoPolyp")
    return [pair_item(source, pair, "polyp", threshold=red_or_green) for pair in pairs]


def red_or_green(drawing: Image.Image) -> NDArray[np.bool_]:
    """Where a mask is red or green, from half of the range on.

    Raises:
        ValueError: If a part of it that is no blurred edge has another colour than red, green and
            black.
    """
    pixels = np.asarray(drawing.convert("RGB"))
    red, green, blue = (pixels[..., channel] >= _HALF for channel in range(3))
    unknown = blue | (red & green)
    solid = binary_opening(unknown, _BLUR) if drawing.format == "JPEG" else unknown
    if solid.any():
        row, column = np.argwhere(solid)[0]
        raise ValueError(
            f"expected a mask in red, green and black, got {tuple(map(int, pixels[row, column]))} "
            f"at column {column}, row {row}. Use the masks of train_gt as they were published"
        )
    result: NDArray[np.bool_] = red | green
    return result


BKAI = Converter("bkai", "bkai_polyp", find, card="bkai")
