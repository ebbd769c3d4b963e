"""Random draws, each from a generator that belongs to one image or sample."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Generator

from palpate.types import Randomness

T = TypeVar("T")


def generators_per_image(generator: Randomness, count: int) -> list[Generator]:
    """One generator for each image: the given ones, or new ones seeded from the given one.

    Args:
        generator: One generator per image; or one generator, or None for torch's global one, from
            which the seeds are drawn.
        count: Number of images.

    Raises:
        ValueError: If the number of generators is not the number of images.
    """
    if isinstance(generator, Sequence):
        if len(generator) != count:
            raise ValueError(f"Expected one generator per image ({count}), got {len(generator)}.")
        return list(generator)
    seeds = torch.randint(2**62, (count,), generator=generator).tolist()
    return [Generator().manual_seed(seed) for seed in seeds]


def random_integer(below: int, random: Generator) -> int:
    """A uniform integer from 0 to ``below - 1``."""
    return int(torch.randint(below, (), generator=random))


def choose_one(options: Sequence[T], generator: Generator) -> T:
    """One of the options, each with the same probability."""
    return options[random_integer(len(options), generator)]


def in_random_order(options: Sequence[T], generator: Generator) -> list[T]:
    """All options in random order."""
    return [options[i] for i in torch.randperm(len(options), generator=generator).tolist()]
