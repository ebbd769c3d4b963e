"""PraNet's archives: ``TrainDataset``, and the five polyp data sets in ``TestDataset``.

Together they are one data set, with training images from Kvasir-SEG and CVC-ClinicDB; the fact
``set`` and the folder identify the origin of a test image. The protocol has no validation split, so
a tenth of the training images is used, since the best epoch must not be chosen on the test split.
"""

from palpate.data.prepare.converter import Converter
from palpate.data.prepare.item import LEARN, Item
from palpate.data.prepare.layout import (
    Layout,
    pair_item,
    pairs_of,
    pictures,
    wrong,
)
from palpate.data.prepare.source import Source

_TRAIN = "TrainDataset"
_TRAIN_LAYOUT = Layout(f"{_TRAIN}/images", f"{_TRAIN}/masks")
_TEST = ("CVC-300", "CVC-ClinicDB", "CVC-ColonDB", "ETIS-LaribPolypDB", "Kvasir")


def find(source: Source) -> list[Item]:
    """Find one item per image: 1450 for training and 798 of five data sets for testing."""
    folders = pictures(source)
    pairs = pairs_of(source, folders, [_TRAIN_LAYOUT]) or []
    items = [
        pair_item(
            source,
            pair,
            "polyp",
            split=LEARN,
            facts={"set": _origin(pair.stem)},
            folder=f"{_TRAIN}/",
        )
        for pair in pairs
    ]
    for name in _TEST:
        layout = Layout(f"TestDataset/{name}/images", f"TestDataset/{name}/masks")
        items += [
            pair_item(source, pair, "polyp", split="test", facts={"set": name}, folder=f"{name}/")
            for pair in pairs_of(source, folders, [layout]) or []
        ]
    if not items:
        raise wrong(source, folders, "TrainDataset, or TestDataset with CVC-300 and four others,")
    return items


def _origin(stem: str) -> str:
    # Frames of CVC-ClinicDB are numbered, images of Kvasir-SEG have names.
    return "CVC-ClinicDB" if stem.isdecimal() else "Kvasir"


PRANET = Converter("pranet", "pranet", find, card="pranet")
