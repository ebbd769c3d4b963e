"""The images of a data set, each once per split, with what is known of their pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from palpate.data.integrity.looks import Fault, ImageLook
from palpate.data.integrity.neighbours import near_pairs
from palpate.data.integrity.survey import Survey


@dataclass(frozen=True)
class Picture:
    """An image as one split of one data set uses it.

    Attributes:
        dataset: Name of the set.
        split: Which lists it.
        name: As listed.
        path: Where it is.
        group: Patient, or the name of the image.
        texts: Prompts by mask, to tell two images of one name apart where there are no pixels.
        look: Its pixels, if they could be read.
    """

    dataset: str
    split: str
    name: str
    path: Path
    group: str
    texts: Mapping[str, object]
    look: ImageLook | None

    def __str__(self) -> str:
        return f"{self.name} ({self.split})"

    @property
    def grouped(self) -> bool:
        """Whether its group says more than its name."""
        return self.group != self.name


@dataclass(frozen=True)
class Likeness:
    """Two images that show the same."""

    first: Picture
    second: Picture
    distance: int  # 0 where pixels are equal
    turned: bool = False

    def __str__(self) -> str:
        if self.exact:
            return f"{self.first} = {self.second}"
        how = ", mirrored or turned" if self.turned else ""
        return f"{self.first} ~ {self.second}, {self.distance} of 255 bits apart{how}"

    @property
    def exact(self) -> bool:
        """Whether the pixels are the same."""
        one, other = self.first.look, self.second.look
        return one is not None and other is not None and one.digest == other.digest


def pictures_of(found: Survey, looks: Mapping[Path, ImageLook | Fault]) -> list[Picture]:
    """Every image once per split, in the order of the annotations."""
    pictures: dict[tuple[str, str], Picture] = {}
    for record in found.records:
        entry, key = record.entry, (record.split, record.entry.image_name)
        if key in pictures:
            texts = {**pictures[key].texts, entry.mask_name: entry.prompts}
        else:
            texts = {entry.mask_name: entry.prompts}
        look = looks.get(entry.image)
        pictures[key] = Picture(
            found.name, record.split, entry.image_name, entry.image, record.group, texts,
            look if isinstance(look, ImageLook) else None,
        )  # fmt: skip
    return list(pictures.values())


def likenesses(pictures: list[Picture]) -> list[Likeness]:
    """All pairs of different files that show the same, by pixels or nearly."""
    return [*_exact(pictures), *_near(pictures)]


def _exact(pictures: list[Picture]) -> list[Likeness]:
    by_digest: dict[str, list[Picture]] = {}
    for picture in pictures:
        if picture.look is not None:
            by_digest.setdefault(picture.look.digest, []).append(picture)
    return [
        Likeness(first, second, 0)
        for same in by_digest.values()
        for first, second in combinations(same[:_MOST], 2)
        if first.path != second.path
    ]


def _near(pictures: list[Picture]) -> list[Likeness]:
    """Among images of different pixels; of equal ones the first stands for all."""
    unique = {p.look.digest: p for p in reversed(pictures) if p.look and p.look.low is not None}
    chosen = [p for p in pictures if p.look and unique.get(p.look.digest) is p]
    if len(chosen) < 2:
        return []
    low = np.stack([p.look.low for p in chosen if p.look and p.look.low is not None])
    return [
        Likeness(chosen[pair.first], chosen[pair.second], pair.distance, pair.turned)
        for pair in near_pairs(low)
    ]


_MOST = 50  # copies of one image whose pairs are listed; a thousand would make half a million
