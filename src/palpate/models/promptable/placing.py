"""Simulate boxes drawn by a user: bounding boxes of true masks, with margin and random error."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from palpate.data.boxes import Prompt, check_box
from palpate.randomness import generator
from palpate.types import Box


@dataclass(frozen=True)
class Placing:
    """Margin and jitter that turn the bounding box of a true mask into the prompt of a model.

    Attributes:
        margin: Distance by which each edge is moved outwards, as a fraction of the box's width or
            height, from 0 to 10.
        jitter: Largest random displacement of each edge, outwards or inwards, as a fraction of the
            box's width or height, from 0 to 0.45.
        seed: Seed of the jitter. The jitter depends only on the seed and the box, so a sample has
            the same box before, during and after an attack, in any batch.
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
        """Add margin and jitter to a box, and clip it to the image."""
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
    """Check that there is a valid box for each image, and return the boxes.

    Args:
        boxes: Left, top, right and bottom edge of each box, as fractions of the image's size.
        prompts: If ``boxes`` is None, the boxes are taken from prompts of the deprecated class
            ``palpate.data.Prompt``.
        images: Number of images.
        name: Name of the model, for the message.

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
