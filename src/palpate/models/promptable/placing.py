"""Boxes as a user might draw them: those of the true masks, with a margin and random error."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from palpate.data.boxes import Prompt, check_box
from palpate.randomness import generator
from palpate.types import Box


@dataclass(frozen=True)
class Placing:
    """How the box of a true mask becomes the box that the model is given.

    Attributes:
        margin: Added at each edge, as a share of the box's width or height.
        jitter: Each edge moves by up to this share, outwards or inwards.
        seed: Of the jitter. The jitter depends on this and the box alone, so that a sample has the
            same box before, during and after an attack, in any batch.
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

    def place(self, box: Box) -> Box:
        """One box with margin and jitter, clipped to the image."""
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


def one_box_each(
    boxes: Sequence[Sequence[float]] | None, prompts: Sequence[str] | None, images: int, name: str
) -> list[Box]:
    """The boxes, if there is a valid one for each image.

    Args:
        boxes: Left, top, right and bottom edge as shares of the image.
        prompts: Without boxes, the deprecated ``palpate.data.Prompt`` brings its own.
        images: Their number.
        name: Of the model, for the message.

    Raises:
        ValueError: If there is not one box per image, or a box is not valid.
    """
    if boxes is None and prompts is not None:
        boxes = [prompt.box for prompt in prompts if isinstance(prompt, Prompt)] or None
    if boxes is None or len(boxes) != images:
        given = "none" if boxes is None else f"{len(boxes)}"
        raise ValueError(
            f"{name} is prompted with boxes: expected boxes=[...] with one (left, top, right, "
            f"bottom) per image, as shares of the image, for {images} images, got {given}. Batches "
            "of palpate have them (batch.boxes)."
        )
    return [check_box(box) for box in boxes]
