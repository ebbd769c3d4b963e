"""BUSI: ``benign/benign (100).png`` with ``benign (100)_mask.png``, ``_mask_1.png`` and so on.

Every mask file outlines one lesion; the mask of an image is their union. Images of healthy breasts
have an empty mask. Files are renamed to ``100_benign.png``, as in the annotations of MedVLSM.
"""

import re
from collections.abc import Iterable
from functools import partial
from pathlib import PurePosixPath

from palpate.data.prepare.converter import Converter
from palpate.data.prepare.item import Item
from palpate.data.prepare.layout import pictures, wrong
from palpate.data.prepare.pictures import read_image, read_masks
from palpate.data.prepare.source import Source
from palpate.data.problems import refuse

_NAME = re.compile(r"(benign|malignant|normal) ?\((\d+)\)(_mask(?:_\d+)?)?", re.IGNORECASE)
_HEALTHY = "normal"

_Identity = tuple[str, int]  # pathology and number


def find(source: Source) -> list[Item]:
    """Find one item per image, with its pathology. Patients are not published."""
    folders = pictures(source)
    images, masks = _files(source, [name for names in folders.values() for name in names])
    if not images:
        raise wrong(source, folders, "files such as 'benign/benign (1).png' of BUSI")
    alone = [
        f"{source.label(image)}: no mask"
        for identity, image in images.items()
        if identity not in masks and identity[0] != _HEALTHY
    ]
    alone += [f"{source.label(some[0])}: no image" for i, some in masks.items() if i not in images]
    refuse(
        sorted(alone),
        "Expected a mask for every image of a tumour and an image for every mask",
        remedy="Download the set again, or take these files out of it.",
    )
    return [_item(source, i, images[i], masks.get(i, [])) for i in sorted(images)]


def _files(
    source: Source, names: Iterable[str]
) -> tuple[dict[_Identity, str], dict[_Identity, list[str]]]:
    images: dict[_Identity, str] = {}
    masks: dict[_Identity, list[str]] = {}
    twice = []
    for name in names:
        found = _NAME.fullmatch(PurePosixPath(name).stem)
        if found is None:
            continue
        identity = found[1].lower(), int(found[2])
        if found[3]:
            masks.setdefault(identity, []).append(name)
        elif images.setdefault(identity, name) != name:
            twice.append(f"{source.label(images[identity])} and {source.label(name)}")
    refuse(twice, "Expected every image of BUSI once, got", remedy="Keep one of each.")
    return images, masks


def _item(source: Source, identity: _Identity, image: str, masks: list[str]) -> Item:
    pathology, number = identity
    stem = f"{number}_{pathology}"
    name = f"{stem}{PurePosixPath(image).suffix.lower()}"
    return Item(
        image_name=name,
        mask_name=f"{stem}.png",
        group=name,
        structure="breast tumour",
        split=None,
        members=(image, *masks),
        read_image=partial(read_image, source, image),
        read_mask=partial(read_masks, source, image, *masks),
        original=image,
        facts={"pathology": pathology},
    )


BUSI = Converter("busi", "busi", find, card="busi")
