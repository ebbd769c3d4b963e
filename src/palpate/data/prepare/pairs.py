"""Converter for a user's images and masks, paired by name: two folders, or one for both."""

import re
from functools import partial
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from palpate.data.patients import patient_or_name
from palpate.data.prepare.converter import Converter
from palpate.data.prepare.item import Item
from palpate.data.prepare.layout import (
    Folders,
    Pair,
    folders_named,
    pair_item,
    pair_up,
    pictures,
    wrong,
)
from palpate.data.prepare.source import Source
from palpate.data.reading.decode import foreground
from palpate.data.reading.mask_values import MaskRule, Structure, structures_of
from palpate.data.reading.masks import read_mask
from palpate.data.sources.pairs import without_ending
from palpate.data.structures import folder_of, only_present


def find(
    source: Source,
    *,
    structure: str,
    images: str,
    masks: str,
    group: str,
    values: str,
    ignore: str,
) -> list[Item]:
    """Find one item per image, or per structure of an image if several values have names.

    Args:
        source: Has a folder of images and one of masks, or one for both, where a mask is named
            like its image with ``_mask``, ``_segmentation``, ``_seg``, ``_gt`` or ``_label``.
        structure: Structure that the masks outline, in words.
        images: Folder of images.
        masks: Folder of masks; may be the same.
        group: Regular expression for the patient in the name of an image: its first group, or the
            whole match. By default a number after ``patient``, ``subject``, ``sub``, ``pat`` or
            ``case``; any other image is its own patient.
        values: What the values of the masks mean, if these are not binary: values of the structure
            (``127``, ``1,2``) or of several (``255=tumour,127=liver``); see
            :mod:`palpate.data.reading.mask_values`.
        ignore: Values of pixels that count in no loss, attack or metric.
    """
    structures = structures_of(_listed(values), _listed(ignore))
    if not structure.strip() and not structures[0].name:
        raise ValueError(
            "Expected what the masks outline, got nothing. Say it with --options structure TEXT, "
            "such as polyp."
        )
    folders = pictures(source)
    pictured = _folder(source, folders, "images", images)
    drawn = _folder(source, folders, "masks", masks)
    if pictured == drawn:
        names = folders[pictured]
        drawings = [name for name in names if without_ending(_stem(name)) != _stem(name)]
        pairs = pair_up(source, sorted(set(names) - set(drawings)), drawings, without_ending)
    else:
        exact = {_stem(name) for name in folders[pictured]}
        pairs = pair_up(
            source,
            folders[pictured],
            folders[drawn],
            lambda stem: stem if stem in exact else without_ending(stem),
        )
    patient = _pattern(group)
    several = len(structures) > 1
    items = [
        _item(source, pair, each, structure, _group(patient, pair), several)
        for pair in pairs
        for each in structures
    ]
    if not several:
        return items
    return only_present(items, [_is_shown(item) for item in items], structures)


def _listed(text: str) -> list[str] | None:
    return [part.strip() for part in text.split(",")] if text.strip() else None


def _item(
    source: Source, pair: Pair, each: Structure, named: str, group: str, several: bool
) -> Item:
    folder = f"{folder_of(each.name)}/" if several else ""
    return pair_item(
        source,
        pair,
        each.name or named,
        group=group,
        mask_name=f"{folder}{pair.stem}.png",
        threshold=partial(foreground, rule=each.rule),
        ignored=partial(_ignored, rule=each.rule) if each.rule.ignore else None,
    )


def _ignored(drawing: Image.Image, rule: MaskRule) -> NDArray[np.bool_]:
    ignored = read_mask(drawing, rule).ignored
    assert ignored is not None
    return ignored


def _is_shown(item: Item) -> bool:
    """Whether the image of an item shows its structure; files with errors are reported later."""
    try:
        return bool(item.read_mask().any())
    except ValueError:
        return True


def _folder(source: Source, folders: Folders, option: str, name: str) -> str:
    if len(folders) == 1:
        return next(iter(folders))
    found = folders_named(folders, name)
    if len(found) != 1:
        raise wrong(source, folders, f"one folder called {name} (or --options {option} NAME)")
    return found[0]


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _pattern(group: str) -> re.Pattern[str] | None:
    try:
        return re.compile(group) if group else None
    except re.error as error:
        raise ValueError(
            f"Expected a regular expression for the group, got {group!r} ({error})."
        ) from error


def _group(pattern: re.Pattern[str] | None, pair: Pair) -> str:
    if pattern is None:
        return patient_or_name(pair.image_name)
    found = pattern.search(pair.image_name)
    if found is None:
        raise ValueError(
            f"Expected {pattern.pattern!r} in the name of every image, got {pair.image_name}. "
            "Correct --options group, or rename that image."
        )
    return str(found[1] if pattern.groups else found[0])


PAIRS = Converter(
    "pairs",
    "pairs",
    find,
    options={
        "structure": "",
        "images": "images",
        "masks": "masks",
        "group": "",
        "values": "",
        "ignore": "",
    },
)
