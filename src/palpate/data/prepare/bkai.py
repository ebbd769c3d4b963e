"""BKAI-IGH NeoPolyp: ``train/train`` and ``train_gt/train_gt``, as in the Kaggle competition.

Masks are JPEG files, red for neoplastic and green for non-neoplastic polyps. The test images of the
competition have no masks; ``sample_submission.csv`` is ignored.
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
_REST = {r"/test/[^/]+$": "test images of the competition, whose masks are not published"}
_HALF = 128
# JPEG stores colour at half the resolution, which mixes red and green over a few pixels.
_BLUR = np.ones((5, 5), dtype=np.bool_)


def find(source: Source) -> list[Item]:
    """Find one item per image; both kinds of polyps are foreground."""
    folders = pictures(source)
    pairs = pairs_of(source, folders, _LAYOUTS)
    if not pairs:
        raise wrong(source, folders, "train/train and train_gt/train_gt of BKAI-IGH NeoPolyp")
    return [pair_item(source, pair, "polyp", threshold=red_or_green) for pair in pairs]


def red_or_green(drawing: Image.Image) -> NDArray[np.bool_]:
    """Foreground of a mask, (h, w): pixels with red or green of at least 128.

    Raises:
        ValueError: If a region larger than a blurred edge has a colour other than red, green and
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


BKAI = Converter("bkai", "bkai_polyp", find, card="bkai", known_rest=_REST)
