"""Entries of phantom data sets, which are rendered instead of read from files."""

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

OWN_SIZE = 224  # side in pixels if none is requested
LEAST_SIZE = 32  # at smaller sizes hairs, leaflets and small polyps are thinner than a pixel


@dataclass(frozen=True)
class PhantomEntry:
    """A phantom with one of its structures as target.

    Attributes:
        dataset: Name of the phantom data set.
        split: Name of the split; splits use different random numbers.
        seed: Seed of the data set.
        index: Index of the scene in its split.
        scene: The scene.
        number: Index of the structure that the mask shows.
        described: Index of the structure that the prompts describe; differs from ``number`` only in
            the wrong half of :func:`~palpate.data.phantoms.listening_pair`.
        appearance: How the scene is imaged.
    """

    dataset: str
    split: str
    seed: int
    index: int
    scene: Scene
    number: int
    described: int
    appearance: str

    def __repr__(self) -> str:
        return describe_entry(self)

    @property
    def image_name(self) -> str:
        """Split, seed and index of the scene, and the appearance if it is not the default one."""
        usual = next(iter(PHANTOMS[self.dataset].appearances)) == self.appearance
        mark = "" if usual else f"{APPEARANCE_MARK}{self.appearance}"
        return f"{self.split}-s{self.seed}-{self.index:05d}{mark}.png"

    @property
    def mask_name(self) -> str:
        """Path of structure, index of the structure, and name of the image."""
        structure = self.scene.asked[self.number].structure.replace(" ", "_")
        return f"{structure}/{self.number}/{self.image_name}"

    @property
    def key(self) -> str:
        """The name of the mask without its extension."""
        return self.mask_name.removesuffix(".png")

    @cached_property
    def prompts(self) -> Mapping[str, tuple[str, ...]]:
        """Texts by level."""
        return PHANTOMS[self.dataset].prompts(self.scene.asked, self.described)

    def read(self, size: int | None) -> tuple[Float[Tensor, "3 h w"], Bool[Tensor, "1 h w"]]:
        """Render image and mask.

        Args:
            size: Side in pixels; None for 224.

        Returns:
            The image in [0, 1], and the mask.
        """
        modality, canvas = PHANTOMS[self.dataset], Canvas(size or OWN_SIZE)
        # Independent of appearance and structure: all entries of a scene show the same texture.
        rng = _random(self.dataset, self.split, self.seed, self.index, "picture")
        picture = modality.paint(self.scene, canvas, modality.appearances[self.appearance], rng)
        mask = self.scene.mask(self.number, canvas)
        return torch.from_numpy(picture), torch.from_numpy(mask)[None]


def phantom_entries(
    dataset: str,
    split: str,
    seed: int,
    appearance: str,
    structures: int | None = None,
    start: int = 0,
) -> Iterator[PhantomEntry]:
    """Iterate over the entries of successive scenes; the iterator is infinite.

    Args:
        dataset: Name of the phantom data set.
        split: Name of the split.
        seed: Seed of the data set.
        appearance: How scenes are imaged.
        structures: Use only scenes with this many structures; by default all.
        start: Index of the first scene.

    Yields:
        One entry for each structure of each scene.
    """
    for index in count(start):
        scene = PHANTOMS[dataset].scene(_random(dataset, split, seed, index, "scene"))
        if structures not in (None, len(scene.asked)):
            continue
        for number in range(len(scene.asked)):
            yield PhantomEntry(dataset, split, seed, index, scene, number, number, appearance)


def _random(dataset: str, split: str, seed: int, index: int, purpose: str) -> np.random.Generator:
    seeded = generator(seed, dataset, split, index, purpose).initial_seed()
    return np.random.default_rng(seeded)
