"""Lesion segmentation tasks of the ISIC challenges of 2016, 2017 and 2018.

Each part is published as an archive of images and one of masks; the source is a folder of these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from palpate.data.prepare.converter import Converter
from palpate.data.prepare.item import LEARN, Item
from palpate.data.prepare.layout import (
    Folders,
    folders_named,
    pair_item,
    pair_up,
    pictures,
    wrong,
)
from palpate.data.prepare.metadata import read_table
from palpate.data.prepare.source import Source

_ENDING = "_segmentation"
_REST = {
    r"_superpixels\.png$": "superpixels of the images",
    r"(Part[23]|Task[23])_|_(Part[23]|Task[23])": "files of the other tasks of the challenge",
}


@dataclass(frozen=True)
class _Part:
    """A part of a challenge: its folders, and its split."""

    images: str
    masks: str
    split: str


_2016 = (
    _Part("ISBI2016_ISIC_Part1_Training_Data", "ISBI2016_ISIC_Part1_Training_GroundTruth", LEARN),
    _Part("ISBI2016_ISIC_Part1_Test_Data", "ISBI2016_ISIC_Part1_Test_GroundTruth", "test"),
)
_2017 = tuple(
    _Part(f"ISIC-2017_{part}_Data", f"ISIC-2017_{part}_Part1_GroundTruth", split)
    for part, split in (("Training", "train"), ("Validation", "val"), ("Test_v2", "test"))
)
_2018 = tuple(
    _Part(f"ISIC2018_Task1-2_{part}_Input", f"ISIC2018_Task1_{part}_GroundTruth", split)
    for part, split in (("Training", "train"), ("Validation", "val"), ("Test", "test"))
)


def find(source: Source, *, parts: tuple[_Part, ...]) -> list[Item]:
    """Find one item per image of every part that is present. Patients are not published."""
    folders = pictures(source)
    facts = _facts(source)
    items = [item for part in parts for item in _items(source, folders, part, facts)]
    if not items:
        raise wrong(source, folders, f"{parts[0].images} and {parts[0].masks}")
    return items


def _items(
    source: Source, folders: Folders, part: _Part, facts: Mapping[str, Mapping[str, str]]
) -> list[Item]:
    images, masks = (_files(folders, name) for name in (part.images, part.masks))
    if bool(images) != bool(masks):
        there, gone = (part.images, part.masks) if images else (part.masks, part.images)
        raise ValueError(
            f"Expected {gone} beside {there} in {source.path}, which is not there. Put both "
            "archives into one folder and pass that."
        )
    # The folders of 2017 also contain superpixels of the images.
    images = [name for name in images if not PurePosixPath(name).stem.endswith("_superpixels")]
    return [
        pair_item(
            source,
            pair,
            "skin lesion",
            split=part.split,
            facts=facts.get(pair.stem),
            mask_name=f"{pair.stem}_Segmentation.png",
        )
        for pair in pair_up(source, images, masks, _image_of)
    ]


def _files(folders: Folders, name: str) -> list[str]:
    return [file for folder in folders_named(folders, name) for file in folders[folder]]


def _image_of(stem: str) -> str:
    return stem[: -len(_ENDING)] if stem.lower().endswith(_ENDING) else stem


def _facts(source: Source) -> dict[str, dict[str, str]]:
    """Age, sex and diagnosis by image, from the tables of 2017 where they are."""
    facts: dict[str, dict[str, str]] = {}
    for name in source.names:
        if name.endswith("_Data_metadata.csv"):
            for row in read_table(source, name, "image_id", "age_approximate", "sex"):
                known = {"age": row["age_approximate"], "sex": row["sex"]}
                facts.setdefault(row["image_id"], {}).update(
                    {fact: value for fact, value in known.items() if value not in ("", "unknown")}
                )
        if name.endswith("_Part3_GroundTruth.csv") and "2017" in name:
            for row in read_table(source, name, "image_id", "melanoma", "seborrheic_keratosis"):
                facts.setdefault(row["image_id"], {})["pathology"] = _diagnosis(row)
    return facts


def _diagnosis(row: Mapping[str, str]) -> str:
    if float(row["melanoma"]) > 0:
        return "melanoma"
    return "seborrheic keratosis" if float(row["seborrheic_keratosis"]) > 0 else "naevus"


ISIC, ISIC2017, ISIC2018 = (
    Converter(name, name, partial(find, parts=parts), card=name, known_rest=_REST)
    for name, parts in (("isic", _2016), ("isic2017", _2017), ("isic2018", _2018))
)
