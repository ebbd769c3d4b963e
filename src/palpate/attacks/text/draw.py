"""Drawing from options, with one generator per sample."""

from collections.abc import Sequence
from typing import TypeVar

import torch

T = TypeVar("T")


def draw(options: Sequence[T], generator: torch.Generator) -> T:
    """One of the options, all equally likely."""
    return options[int(torch.randint(len(options), (), generator=generator))]


def shuffled(options: Sequence[T], generator: torch.Generator) -> list[T]:
    """The options in random order."""
    return [options[i] for i in torch.randperm(len(options), generator=generator).tolist()]
