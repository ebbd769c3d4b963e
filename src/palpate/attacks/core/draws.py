"""Random numbers of attacks that treat every image by itself."""

from collections.abc import Sequence

import torch
from torch import Generator

from palpate.types import Randomness


def one_per_image(generator: Randomness, count: int) -> list[Generator]:
    """A generator for each image: those given, or new ones seeded from the one given.

    Raises:
        ValueError: If there are more or fewer generators than images.
    """
    if isinstance(generator, Sequence):
        if len(generator) != count:
            raise ValueError(f"Expected one generator per image ({count}), got {len(generator)}.")
        return list(generator)
    seeds = torch.randint(2**62, (count,), generator=generator).tolist()
    return [Generator().manual_seed(seed) for seed in seeds]


def whole_number(below: int, random: Generator) -> int:
    """One of ``0 .. below - 1``, uniformly."""
    return int(torch.randint(below, (), generator=random))
