"""An item of a source: one mask with its image, and functions that read both."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from palpate.data.annotations import SPLITS
from palpate.data.prepare.member import leads_outside
from palpate.data.problems import refuse

_Value = TypeVar("_Value")

LEARN = "train+val"  # split of items that must not get into the test split


@dataclass(frozen=True)
class Item:
    """A mask and its image, as a converter finds them without reading either.

    Attributes:
        image_name: Name below ``images/``; items of one image share it. Its extension is that of
            ``original``, or ``.png``.
        mask_name: Name below ``masks/``, ending in ``.png``; unique.
        group: Group that splits keep together: the patient if known.
        structure: Structure that the mask outlines, in words.
        split: Official split: ``train``, ``val`` or ``test``; ``LEARN`` to draw from training and
            validation, None to draw from all three.
        members: Files of the source that pixels come from; the item is written again when the
            content of one changes.
        read_image: The image upright, ``(h, w, 3)`` in 0 to 255.
        read_mask: The mask upright, ``(h, w)`` as large as the image.
        original: File of the source that is copied byte for byte as the image; by default the
            image is written as PNG.
        facts: Other metadata, such as view, sex or pathology.
        is_private: Whether the names of ``members`` may identify a patient, as in DICOM exports;
            then they are not stored.
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

    @property
    def key(self) -> str:
        """Name of the mask without extension, as in every results table."""
        return self.mask_name.removesuffix(".png")


def check_items(items: Sequence[Item]) -> None:
    """Check that all items can be written and that patients stay in one split.

    Raises:
        ValueError: If a name is invalid, if two items would write one file with different
            content, or if they share a patient but not a split.
    """
    refuse(
        [fault for item in items for fault in _faults(item)],
        "Expected names and splits that palpate can write",
        remedy="Rename these files in the source.",
    )
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
    """Pairs of different values of items with one key, which should share one value."""
    first: dict[str, _Value] = {}
    clashes = []
    for item in items:
        known = first.get(key(item))
        if known is not None and (once or known != value(item)):
            clashes.append((known, value(item)))
        first.setdefault(key(item), value(item))
    return clashes
