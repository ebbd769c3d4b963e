"""Boxes around what a mask shows, and how they travel to models: inside the prompt.

A prompt is text to every model. Models that are asked with a box find it in the same place, so
that nothing between the data and the model, attacks least of all, has to know about boxes.
"""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from palpate.types import Masks

# Left, top, right, bottom edge, as shares of the image's width and height: the same box in an image
# of any size.
Box: TypeAlias = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


class Prompt(str):
    """A text that knows where to look; everywhere else it is that text.

    Args:
        text: What to look for.
        box: Where.

    Raises:
        ValueError: If the box is none.
    """

    box: Box

    def __new__(cls, text: str, box: Sequence[float | int]) -> "Prompt":
        made = super().__new__(cls, text)
        made.box = check_box(box)
        return made

    def __getnewargs__(self) -> tuple[str, Box]:  # type: ignore[override]
        return str(self), self.box  # so that workers can send it

    def saying(self, text: str) -> "Prompt":
        """Another text with the same box."""
        return Prompt(text, self.box)


def check_box(box: Sequence[float | int]) -> Box:
    """The box, if it has an area and lies in the image.

    Raises:
        ValueError: If it does not.
    """
    left, top, right, bottom = map(float, box) if len(box) == 4 else (0.0,) * 4
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(
            f"Expected a box of left, top, right and bottom edge as shares of the image, got {box}."
        )
    return left, top, right, bottom


def boxes_of(masks: Masks) -> list[Box]:
    """The smallest box around each mask, from outer edge to outer edge of its pixels.

    An empty mask has none; it gets the whole image, which gives away nothing.

    Args:
        masks: The truth, before anything is attacked.
    """
    left, right = _ends(masks.any(dim=2))
    top, bottom = _ends(masks.any(dim=3))
    edges = torch.stack([left, top, right, bottom], dim=1)
    present = masks.flatten(1).any(dim=1).tolist()
    found = (tuple(each) for each in edges.tolist())
    return [box if there else WHOLE for box, there in zip(found, present, strict=True)]


def _ends(lines: Tensor) -> tuple[Tensor, Tensor]:
    """Where the first line with anything in it begins and the last ends, of ``(b, 1, n)``."""
    marked = lines.flatten(1).to(torch.uint8)
    count = marked.shape[1]
    first = marked.argmax(dim=1).double() / count
    last = (count - marked.flip(1).argmax(dim=1)).double() / count
    return first, last
