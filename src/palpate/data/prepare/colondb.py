"""CVC-ColonDB, CVC-300 and ETIS-Larib: numbered frames, on their own or in PraNet's archive.

All three are used for testing only, so all their images are in the test split.
"""

import re
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


def _rest(name: str) -> dict[str, str]:
    """Reason for the files of other polyp data sets, as in the archives of PraNet and EndoScene."""
    others = [
        "TrainDataset",
        "CVC-612",
        *(word for known, words in _NAMES.items() if known != name for word in words),
    ]
    return {"|".join(map(re.escape, others)): "files of other data sets"}


def _converter(name: str, *layouts: Layout) -> Converter:
    return Converter(
        name,
        f"{name}_polyp",
        partial(find, name=name, layouts=[Layout("images", "masks"), *layouts]),
        card=name,
        known_rest=_rest(name),
    )


COLONDB = _converter("colondb")
# EndoScene, from which CVC-300 comes, has its frames in bbdd.
CVC300 = _converter("cvc300", Layout("CVC-300/bbdd", "CVC-300/gtpolyp"))
ETIS = _converter("etis", Layout("ETIS-LaribPolypDB", "Ground Truth", _without_p))
