"""Kvasir-SEG: ``Kvasir-SEG/images`` and ``masks``, JPEG files of the same names."""

import re

from palpate.data.prepare.converter import Converter
from palpate.data.prepare.item import Item
from palpate.data.prepare.layout import (
    Layout,
    pair_item,
    pairs_of,
    pictures,
    stems_like,
    wrong,
)
from palpate.data.prepare.source import Source

# All images have such names, which identify the set in a renamed folder; PraNet's copies are PNG.
_STEM = re.compile(r"c[jk]\w{23}")
_ENDINGS = (".jpg", ".jpeg")


def find(source: Source) -> list[Item]:
    """Find one item per image. Patients are not published."""
    folders = pictures(source)
    own = stems_like(folders, _STEM)
    pairs = pairs_of(source, own, [Layout("images", "masks")])
    if not pairs or not all(pair.image.lower().endswith(_ENDINGS) for pair in pairs):
        names = "JPEG files named like cju0qkwl35piu0993l0dewei2.jpg"
        raise wrong(source, folders, f"Kvasir-SEG/images and Kvasir-SEG/masks with {names}")
    return [pair_item(source, pair, "polyp") for pair in pairs]


KVASIR = Converter("kvasir", "kvasir_polyp", find, card="kvasir")
