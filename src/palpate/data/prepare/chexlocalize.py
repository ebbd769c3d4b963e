"""CheXlocalize: findings in chest X-rays of CheXpert, with masks as run lengths in JSON.

``gt_segmentations_val.json`` and ``gt_segmentations_test.json`` contain a mask of every finding for
each image; a mask without foreground means that the finding is absent and is omitted. An image
``patient64541/study1/view1_frontal.jpg`` is renamed to ``patient64541_study1_view1_frontal.jpg``,
as in the JSON and in the published annotations. There is no official training split, so patients
are assigned to splits at random; the original split is kept as the fact ``source_split``.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from palpate.data.prepare.converter import Converter, WrongLayout
from palpate.data.prepare.drawn import drawn_mask
from palpate.data.prepare.item import Item
from palpate.data.prepare.metadata import read_json
from palpate.data.prepare.outlines import from_runs, is_empty
from palpate.data.prepare.pictures import read_image
from palpate.data.prepare.source import Source
from palpate.data.problems import refuse

FINDINGS = (
    "Airspace Opacity",
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Lung Lesion",
    "Pleural Effusion",
    "Pneumothorax",
    "Support Devices",
)

_JSON = re.compile(r"(?:^|/)gt_segmentations_(val|test)\.json$")
_IMAGE = re.compile(r"(?P<patient>patient\d+)_study\d+_view\d+_(?P<view>frontal|lateral)$")
_SUFFIXES = (".jpg", ".jpeg", ".png")
_REST = {r"\.(jpe?g|png)$": "images without a finding in the ground truth"}


def find(source: Source) -> list[Item]:
    """Find one item for every finding that is present in an image.

    Raises:
        WrongLayout: If there is no ``gt_segmentations_{val,test}.json``.
        ValueError: If an image is missing, or the JSON is not in the format of CheXlocalize.
    """
    files = {name: found[1] for name in source.names if (found := _JSON.search(name))}
    if not files:
        raise WrongLayout(
            f"Expected gt_segmentations_val.json or gt_segmentations_test.json of CheXlocalize in "
            f"{source.path}, found neither. Give the folder that holds CheXlocalize/ and CheXpert/."
        )
    pictures, items, problems = _pictures(source), list[Item](), list[str]()
    for file, split in files.items():
        for image, masks in _images(source, file).items():
            try:
                items += _items(source, file, split, image, masks, pictures)
            except ValueError as error:
                problems.append(f"{source.label(file)}: {image}: {error}")
    refuse(
        problems,
        "Expected run lengths by finding and an image for each, in CheXlocalize",
        remedy="Download the JSON and the images of its split again.",
    )
    return items


def _images(source: Source, file: str) -> dict[str, Any]:
    content = read_json(source, file)
    if not isinstance(content, dict):
        raise ValueError(
            f"Expected an object of images in {source.label(file)}, got "
            f"{type(content).__name__}. Download it again."
        )
    return content


def _pictures(source: Source) -> dict[str, str]:
    """Images by the last three parts of their path, joined as the JSON does."""
    found: dict[str, str] = {}
    for name in source.names:
        path = PurePosixPath(name)
        if path.suffix.lower() in _SUFFIXES:
            found["_".join((*path.parent.parts[-2:], path.stem))] = name
            found.setdefault(path.stem, name)  # flattened already
    return found


def _items(
    source: Source, file: str, split: str, image: str, masks: Any, pictures: dict[str, str]
) -> Iterator[Item]:
    known = _IMAGE.fullmatch(image)
    if known is None:
        raise ValueError("expected a name such as patient64541_study1_view1_frontal")
    if not isinstance(masks, dict) or not masks:
        raise ValueError(f"expected run lengths by finding, got {str(masks)[:60]}")
    unknown = sorted(masks.keys() - {*FINDINGS, "img_size"})
    if unknown:
        raise ValueError(f"expected findings among {', '.join(FINDINGS)}, got {unknown}")
    present = [f for f in FINDINGS if f in masks and not is_empty(masks[f])]
    if present and image not in pictures:
        raise ValueError("there is no such image")
    for finding in present:
        yield _item(source, pictures[image], known, split, finding, (file, masks[finding]))


def _item(
    source: Source,
    picture: str,
    known: re.Match[str],
    split: str,
    finding: str,
    drawing: tuple[str, Any],
) -> Item:
    file, runs = drawing
    name = finding.lower().replace(" ", "_")
    return Item(
        image_name=f"{known[0]}{PurePosixPath(picture).suffix}",
        mask_name=f"{known[0]}_{name}.png",
        group=known["patient"],
        structure=finding.lower(),
        split=None,
        members=(picture, file),
        read_image=partial(read_image, source, picture),
        read_mask=partial(drawn_mask, source, picture, ((from_runs, runs),), f"{file}: {known[0]}"),
        original=picture,
        facts={"view": known["view"], "finding": finding, "source_split": split},
    )


CHEXLOCALIZE = Converter(
    "chexlocalize", "chexlocalize", find, card="chexlocalize", known_rest=_REST
)
