"""Items of a source: masks with their images, and functions that read both."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from palpate.data.annotations import SPLITS
from palpate.data.prepare.member import leads_outside
from palpate.data.problems import refuse

_Value = TypeVar("_Value")

LEARN = "train+val"  # split of items that are divided into training and validation, never test


@dataclass(frozen=True)
class Item:
    """A mask and its image, as found by a converter before reading them.

    Attributes:
        image_name: Name below ``images/``, shared by all items of the image. Its extension is that
            of ``original``, or ``.png``.
        mask_name: Name below ``masks/``, ending in ``.png``; unique.
        group: Unit that splits keep together: the patient if known.
        structure: Structure that the mask outlines, in words.
        split: Official split: ``train``, ``val`` or ``test``; ``LEARN`` for a random choice of
            training or validation, None for a random choice of all three.
        members: Files of the source that contain the pixels; if the content of one changes, the
            item is written again.
        read_image: Returns the upright image, ``(h, w, 3)`` in 0 to 255.
        read_mask: Returns the upright mask, ``(h, w)``, of the size of the image.
        original: File of the source that is copied byte for byte as the image; by default the
            image is written as PNG.
        facts: Other metadata, such as view, sex or pathology.
        read_ignored: Returns the pixels of the mask that count in no loss, attack or metric,
            ``(h, w)``; None if all count.
        count_values: Returns the number of pixels of each value of the mask as stored; None if it
            was drawn.
        is_private: Whether the names of ``members`` may identify a patient, as in DICOM exports;
            such names are not stored.
    """

    image_name: str
    mask_name: str
    group: str
    structure: str
    split: str | None
    members: tuple[str, ...]
    read_image: Callable[[], NDArray[np.uint8]] = field(repr=False)
    read_mask: Callable[[], NDArray[np.bool_]] = field(repr=False)
    original: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    is_private: bool = False
    read_ignored: Callable[[], NDArray[np.bool_]] | None = field(default=None, repr=False)
    count_values: Callable[[], Counter[str]] | None = field(default=None, repr=False)

    @property
    def key(self) -> str:
        """Name of the mask without extension, as in every results table."""
        return self.mask_name.removesuffix(".png")


def check_items(items: Sequence[Item]) -> None:
    """Check that all items can be written and that every patient is in one split.

    Raises:
        ValueError: If a name is invalid, if two items would write different content to one file, or
            if they have the same patient but different splits.
    """
    refuse(
        [fault for item in items for fault in _faults(item)],
        "Expected names and splits that palpate can write",
        remedy="Rename these files in the source.",
    )
    # On Windows and macOS, names that differ only in case are the same file.
    masks = _by(items, lambda item: item.mask_name.casefold(), lambda item: (item.mask_name,), True)
    images = _by(items, lambda item: item.image_name.casefold(), _image)
    refuse(
        [f"{first[0]} and {second[0]}" for first, second in masks + images],
        "Expected names that differ in more than upper and lower case, got",
        remedy="Rename these files in the source.",
    )
    groups = _by(items, lambda item: item.group, lambda item: (item.group, item.split))
    refuse(
        [f"{one[0]}: {one[1]} and {other[1]}" for one, other in groups],
        "Expected each patient in one split, got some in several",
        remedy="Leave the files of one split out of the source; or, if two patients have the same "
        "name, tell them apart with the option group.",
    )


def _faults(item: Item) -> list[str]:
    names = (item.image_name, item.mask_name)
    faults = [f"{n!r} leads outside" for n in names if leads_outside(n) or not n]
    if not item.mask_name.endswith(".png"):
        faults.append(f"{item.mask_name!r} does not end in .png")
    if item.split not in (None, LEARN, *SPLITS):
        faults.append(f"{item.image_name!r}: {item.split!r} is none of {', '.join(SPLITS)}")
    return faults


def _image(item: Item) -> tuple[str, str | None, str | None]:
    return item.image_name, item.original, item.split


def _by(
    items: Sequence[Item],
    key: Callable[[Item], str],
    value: Callable[[Item], _Value],
    once: bool = False,
) -> list[tuple[_Value, _Value]]:
    """Pairs of conflicting values of items with the same key; with ``once``, any repetition."""
    first: dict[str, _Value] = {}
    clashes = []
    for item in items:
        known = first.get(key(item))
        if known is not None and (once or known != value(item)):
            clashes.append((known, value(item)))
        first.setdefault(key(item), value(item))
    return clashes
