"""Converter for a user's images and masks, paired by name: two folders, or one for both."""

import re
from pathlib import PurePosixPath

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
from palpate.data.sources.pairs import without_ending


def find(source: Source, *, structure: str, images: str, masks: str, group: str) -> list[Item]:
    """Find one item per image.

    Args:
        source: Has a folder of images and one of masks, or one for both, where a mask is named
            like its image with ``_mask``, ``_segmentation``, ``_seg``, ``_gt`` or ``_label``.
        structure: Structure that the masks outline, in words.
        images: Folder of images.
        masks: Folder of masks; may be the same.
        group: Regular expression for the patient in the name of an image: its first group, or the
            whole match. By default a number after ``patient``, ``subject``, ``sub``, ``pat`` or
            ``case``; any other image is its own patient.
    """
    if not structure.strip():
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
    return [pair_item(source, pair, structure, group=_group(patient, pair)) for pair in pairs]


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
    options={"structure": "", "images": "images", "masks": "masks", "group": ""},
)
