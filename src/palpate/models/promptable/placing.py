"""The boxes that a model is asked with, taken from its prompts, as exact or as rough as wanted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from palpate.data.boxes import Box, Prompt
from palpate.randomness import generator


@dataclass(frozen=True)
class Placing:
    """How boxes of true masks become those that somebody might have drawn.

    Attributes:
        margin: Added at each edge, as a share of the box's width or height.
        jitter: Each edge moves by up to this share, outwards or inwards.
        seed: Of the jitter. It depends on the box besides and on nothing else: a sample is asked
            alike before, during and after an attack, in any batch.
    """

    margin: float | int = 0.0
    jitter: float | int = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, limit in (("margin", self.margin, 10), ("jitter", self.jitter, 0.45)):
            if not isinstance(value, int | float) or not 0 <= value <= limit:
                raise ValueError(
                    f"Expected {name} from 0 to {limit}, a share of the box's sides, got {value!r}."
                )

    def boxes(self, prompts: Sequence[str] | None, images: int, name: str) -> list[Box]:
        """One box for each of so many images.

        Raises:
            ValueError: If there is not one for each.
        """
        _check(prompts, images, name)
        return [self.place(prompt.box) for prompt in prompts or () if isinstance(prompt, Prompt)]

    def place(self, box: Box) -> Box:
        """One box, with margin and jitter, cut off at the edges of the image."""
        moved = torch.zeros(4)
        if self.jitter:
            draw = torch.rand(4, generator=generator(self.seed, "box", repr(box)))
            moved = (2 * draw - 1) * self.jitter
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        shares = [self.margin + move for move in moved.tolist()]
        return (
            max(0.0, left - shares[0] * width),
            max(0.0, top - shares[1] * height),
            min(1.0, right + shares[2] * width),
            min(1.0, bottom + shares[3] * height),
        )


def _check(prompts: Sequence[Any] | None, images: int, name: str) -> None:
    given = 0 if prompts is None or isinstance(prompts, str) else len(prompts)
    boxed = 0 if not given else sum(isinstance(prompt, Prompt) for prompt in prompts or ())
    if given != images or boxed != images:
        raise ValueError(
            f"{name} is asked with a box: expected {images} prompts that have one, got {given} "
            f"prompts of which {boxed} have. Data sets of palpate give them (sample.prompt, "
            "batch.prompts); elsewhere write palpate.data.Prompt(text, (left, top, right, bottom))."
        )
