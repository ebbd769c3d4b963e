"""Images of a data set, each once per split, and pairs of duplicates among them."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from palpate.data.integrity.near_duplicates import near_pairs
from palpate.data.integrity.summaries import Fault, ImageSummary
from palpate.data.integrity.survey import Survey

_MOST = 50  # copies of an image whose pairs are listed; a thousand copies have half a million pairs


@dataclass(frozen=True)
class ListedImage:
    """An image as listed in one split of one data set.

    Attributes:
        dataset: Name of the data set.
        split: Split that lists the image.
        name: Name in the annotation file.
        path: Path of the file.
        group: Patient, or the name of the image if that is unknown.
        texts: Prompts by mask, which distinguish two images of one name if there are no pixels.
        summary: Hashes of the pixels; None if these could not be read.
    """

    dataset: str
    split: str
    name: str
    path: Path
    group: str
    texts: Mapping[str, object]
    summary: ImageSummary | None

    def __str__(self) -> str:
        return f"{self.name} ({self.split})"

    @property
    def grouped(self) -> bool:
        """Whether the group is more than the name of the image."""
        return self.group != self.name


@dataclass(frozen=True)
class DuplicatePair:
    """Two images with equal or nearly equal pixels.

    Attributes:
        first: One image.
        second: The other image.
        distance: Number of different bits of their perceptual hashes, of 255; 0 for equal pixels.
        turned: Whether one is a mirrored or rotated copy of the other.
    """

    first: ListedImage
    second: ListedImage
    distance: int
    turned: bool = False

    def __str__(self) -> str:
        if self.exact:
            return f"{self.first} = {self.second}"
        how = ", mirrored or turned" if self.turned else ""
        return f"{self.first} ~ {self.second}, {self.distance} of 255 bits apart{how}"

    @property
    def exact(self) -> bool:
        """Whether the pixels are equal."""
        one, other = self.first.summary, self.second.summary
        return one is not None and other is not None and one.digest == other.digest


def listed_images(
    found: Survey, summaries: Mapping[Path, ImageSummary | Fault]
) -> list[ListedImage]:
    """List every image once per split, in the order of the annotations."""
    pictures: dict[tuple[str, str], ListedImage] = {}
    for record in found.records:
        entry, key = record.entry, (record.split, record.entry.image_name)
        if key in pictures:
            texts = {**pictures[key].texts, entry.mask_name: entry.prompts}
        else:
            texts = {entry.mask_name: entry.prompts}
        summary = summaries.get(entry.image)
        pictures[key] = ListedImage(
            found.name, record.split, entry.image_name, entry.image, record.group, texts,
            summary if isinstance(summary, ImageSummary) else None,
        )  # fmt: skip
    return list(pictures.values())


def duplicate_pairs(pictures: list[ListedImage]) -> list[DuplicatePair]:
    """Find all pairs of different files with equal or nearly equal pixels."""
    return [*_exact(pictures), *_near(pictures)]


def _exact(pictures: list[ListedImage]) -> list[DuplicatePair]:
    by_digest: dict[str, list[ListedImage]] = {}
    for picture in pictures:
        if picture.summary is not None:
            by_digest.setdefault(picture.summary.digest, []).append(picture)
    return [
        DuplicatePair(first, second, 0)
        for same in by_digest.values()
        for first, second in combinations(same[:_MOST], 2)
        if first.path != second.path
    ]


def _near(pictures: list[ListedImage]) -> list[DuplicatePair]:
    """Pairs of near duplicates; of several images with equal pixels, only the first is compared."""
    unique = {
        p.summary.digest: p for p in reversed(pictures) if p.summary and p.summary.low is not None
    }
    chosen = [p for p in pictures if p.summary and unique.get(p.summary.digest) is p]
    if len(chosen) < 2:
        return []
    low = np.stack([p.summary.low for p in chosen if p.summary and p.summary.low is not None])
    return [
        DuplicatePair(chosen[pair.first], chosen[pair.second], pair.distance, pair.turned)
        for pair in near_pairs(low)
    ]
