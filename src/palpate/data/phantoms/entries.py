"""Entries that are drawn instead of read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palpate.data.dataset import describe_entry
from palpate.data.phantoms.canvas import Canvas
from palpate.data.phantoms.modalities import APPEARANCE_MARK, PHANTOMS, Scene
from palpate.randomness import generator

OWN_SIZE = 224
LEAST_SIZE = 32  # below, hairs, leaflets and small polyps are less than a pixel


@dataclass(frozen=True)
class PhantomEntry:
    """One thing asked for in one phantom.

    Attributes:
        dataset: Name of the kind of phantom.
        split: Scenes of different splits come from different random numbers.
        seed: Of the data set.
        index: Of the scene in its split; scene and picture depend on nothing else.
        scene: What there is.
        number: Which of the things in it the mask shows.
        told: Which of them the texts are about: the same one, but for listening tests.
        appearance: How it is recorded.
    """

    dataset: str
    split: str
    seed: int
    index: int
    scene: Scene
    number: int
    told: int
    appearance: str

    def __repr__(self) -> str:
        return describe_entry(self)

    @property
    def image_name(self) -> str:
        """The scene, and its appearance where it is not the usual one."""
        usual = next(iter(PHANTOMS[self.dataset].appearances)) == self.appearance
        mark = "" if usual else f"{APPEARANCE_MARK}{self.appearance}"
        return f"{self.split}-s{self.seed}-{self.index:05d}{mark}.png"

    @property
    def mask_name(self) -> str:
        """Structure and number in front of the name of the image."""
        structure = self.scene.asked[self.number].structure.replace(" ", "_")
        return f"{structure}/{self.number}/{self.image_name}"

    @property
    def key(self) -> str:
        """The name of the mask without its ending."""
        return self.mask_name.removesuffix(".png")

    @cached_property
    def prompts(self) -> Mapping[str, tuple[str, ...]]:
        """Texts by level."""
        return PHANTOMS[self.dataset].prompts(self.scene.asked, self.told)

    def read(self, size: int | None) -> tuple[Float[Tensor, "3 h w"], Bool[Tensor, "1 h w"]]:
        """Draw image and mask, by default at 224 pixels."""
        modality, canvas = PHANTOMS[self.dataset], Canvas(size or OWN_SIZE)
        rng = _random(self.dataset, self.split, self.seed, self.index, "picture")
        picture = modality.paint(self.scene, canvas, modality.appearances[self.appearance], rng)
        mask = self.scene.mask(self.number, canvas)
        return torch.from_numpy(picture), torch.from_numpy(mask)[None]


def phantom_entries(
    dataset: str,
    split: str,
    seed: int,
    appearance: str,
    things: int | None = None,
    start: int = 0,
) -> Iterator[PhantomEntry]:
    """Entries of one scene after the other, without end.

    Args:
        dataset: Name of the kind of phantom.
        split: Name of the split.
        seed: Of the data set.
        appearance: How scenes are recorded.
        things: Only scenes that can be asked for this many things; by default all.
        start: Index of the first scene.
    """
    for index in count(start):
        scene = PHANTOMS[dataset].scene(_random(dataset, split, seed, index, "scene"))
        if things not in (None, len(scene.asked)):
            continue
        for number in range(len(scene.asked)):
            yield PhantomEntry(dataset, split, seed, index, scene, number, number, appearance)


def _random(dataset: str, split: str, seed: int, index: int, purpose: str) -> np.random.Generator:
    seeded = generator(seed, dataset, split, index, purpose).initial_seed()
    return np.random.default_rng(seeded)
