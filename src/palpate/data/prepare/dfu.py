"""DFUC 2022: ``DFUC2022_train_images/*.jpg`` and ``DFUC2022_train_masks/*.png``.

The masks of the validation and test images of the challenge are not published.
"""

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

_LAYOUT = Layout("DFUC2022_train_images", "DFUC2022_train_masks")
_REST = {
    r"DFUC2022_(test|val)": "images of the challenge whose masks are not published",
}


def find(source: Source) -> list[Item]:
    """Find one item per image. Patients are not published."""
    folders = pictures(source)
    pairs = pairs_of(source, folders, [_LAYOUT])
    if not pairs:
        raise wrong(source, folders, f"{_LAYOUT.images} and {_LAYOUT.masks}")
    return [pair_item(source, pair, "foot ulcer") for pair in pairs]


DFU = Converter("dfu", "dfu", find, card="dfu", known_rest=_REST)
