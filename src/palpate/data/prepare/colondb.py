"""CVC-ColonDB, CVC-300 and ETIS-Larib: numbered frames, on their own or in PraNet's archive.

All three are used for testing only, so all their images are in the test split.
"""

from collections.abc import Iterable
from functools import partial

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

# Frames are numbered, so only the name of a folder or archive identifies the data set.
_NAMES = {
    "kvasir": ("kvasir",),
    "clinicdb": ("clinicdb",),
    "colondb": ("colondb",),
    "cvc300": ("cvc-300", "cvc300", "endoscene"),
    "etis": ("etis",),
}


def names_another(folders: Iterable[str], name: str) -> bool:
    """Whether folders are named after other polyp data sets and none after this one.

    >>> names_another(["CVC-ColonDB/Original"], "clinicdb"), names_another(["a/b"], "clinicdb")
    (True, False)
    """
    there = {known for known in _NAMES if _named(folders, known)}
    return bool(there) and name not in there


def find(source: Source, *, name: str, layouts: list[Layout]) -> list[Item]:
    """Find one item per frame. Patients are not published."""
    folders = pictures(source)
    own = {folder: names for folder, names in folders.items() if _named([folder], name)}
    pairs = pairs_of(source, own, layouts)
    if not pairs:
        raise wrong(source, folders, f"a folder called after {name} with images and masks")
    return [pair_item(source, pair, "polyp", split="test") for pair in pairs]


def _named(folders: Iterable[str], name: str) -> bool:
    return any(word in folder.lower() for folder in folders for word in _NAMES[name])


def _without_p(stem: str) -> str:
    return stem.removeprefix("p")


_PLAIN = Layout("images", "masks")
_PUBLISHED = Layout("ETIS-LaribPolypDB", "Ground Truth", _without_p)

COLONDB = Converter(
    "colondb", "colondb_polyp", partial(find, name="colondb", layouts=[_PLAIN]), card="colondb"
)
CVC300 = Converter(
    "cvc300", "cvc300_polyp", partial(find, name="cvc300", layouts=[_PLAIN]), card="cvc300"
)
ETIS = Converter(
    "etis", "etis_polyp", partial(find, name="etis", layouts=[_PLAIN, _PUBLISHED]), card="etis"
)
