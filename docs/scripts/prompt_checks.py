"""Pair masks with the attributes that the published prompts give for them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from published_prompts import Claims, Published, read_published

from palpate.data.wording import Attributes, Rule, describe_mask

SETS = ("isic", "busi", "kvasir_polyp")
_HALF = 127  # grey value; masks of Kvasir-SEG are JPEG
_SQUASHED = ("isic", "kvasir_polyp")  # copies that were resized to a square


@dataclass(frozen=True)
class Case:
    """One mask in the aspect ratio of the original, with its published attributes."""

    split: str
    name: str
    grey: NDArray[np.uint8]
    published: Published
    claims: Claims

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """The mask as palpate reads it."""
        return self.grey > _HALF

    def found(self, rule: Rule) -> Attributes:
        """The attributes by a rule of palpate."""
        return describe_mask(self.mask, rule)


def cases(data: Path, name: str) -> Iterator[Case]:
    """Every mask of a data set that is not empty and has published attributes."""
    published = {
        each.mask_name: each for each in read_published(data / "published-annotations" / name)
    }
    for split in ("train", "val", "test"):
        for record in json.loads((data / name / "anns" / f"{split}.json").read_text()):
            each = published[record["mask_name"]]
            grey = np.asarray(Image.open(data / name / "masks" / each.mask_name).convert("L"))
            if each.claims is None or not (grey > _HALF).any():
                continue
            if name in _SQUASHED:
                grey = _widened(grey, each)
            yield Case(split, each.mask_name, grey, each, each.claims)


def _widened(grey: NDArray[np.uint8], published: Published) -> NDArray[np.uint8]:
    """A square copy resized to the aspect ratio of the original, known from the published box."""
    assert published.box is not None
    left, top, right, bottom = published.box
    rows, columns = (np.flatnonzero((grey > _HALF).any(axis=axis)) for axis in (1, 0))
    across = (right - left) / max(np.ptp(columns), 1)
    down = (bottom - top) / max(np.ptp(rows), 1)
    width = max(1, round(grey.shape[1] * across / down))
    picture = Image.fromarray(grey).resize((width, grey.shape[0]), Image.Resampling.NEAREST)
    return np.asarray(picture)
