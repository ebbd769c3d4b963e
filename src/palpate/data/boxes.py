"""Bounding boxes of masks, for models that are prompted with a box."""

from collections.abc import Sequence

import torch
from torch import Tensor

from palpate.types import Box, Masks

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


class Prompt(str):
    """A text with a box. Deprecated: pass ``boxes=[...]`` to a model that wants boxes.

    Args:
        text: The prompt.
        box: Left, top, right and bottom edge as shares of the image.

    Raises:
        ValueError: If the box is not valid.
    """

    box: Box

    def __new__(cls, text: str, box: Sequence[float | int]) -> "Prompt":
        made = super().__new__(cls, text)
        made.box = check_box(box)
        return made

    def __getnewargs__(self) -> tuple[str, Box]:  # type: ignore[override]
        return str(self), self.box  # so that it can be pickled

    def saying(self, text: str) -> "Prompt":
        """Another text with the same box."""
        return Prompt(text, self.box)


def check_box(box: Sequence[float | int]) -> Box:
    """The box as four floats, if it lies in the image and has an area.

    Raises:
        ValueError: If it does not.
    """
    left, top, right, bottom = map(float, box) if len(box) == 4 else (0.0,) * 4
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(
            "Expected a box of left, top, right and bottom edge as shares of the image, from 0 to "
            f"1 with left < right and top < bottom, got {box}."
        )
    return left, top, right, bottom


def boxes_of(masks: Masks) -> list[Box]:
    """The smallest box around the foreground of each mask, from outer edge to outer edge.

    The box of an empty mask is the whole image, which gives nothing away.

    Args:
        masks: Ground truth ``(b, 1, h, w)``.
    """
    left, right = _extent(masks.any(dim=2))
    top, bottom = _extent(masks.any(dim=3))
    edges = torch.stack([left, top, right, bottom], dim=1)
    present = masks.flatten(1).any(dim=1).tolist()
    found = (tuple(each) for each in edges.tolist())
    return [box if there else WHOLE for box, there in zip(found, present, strict=True)]


def _extent(lines: Tensor) -> tuple[Tensor, Tensor]:
    """Start of the first line with foreground and end of the last, as shares, of ``(b, 1, n)``."""
    marked = lines.flatten(1).to(torch.uint8)
    count = marked.shape[1]
    first = marked.argmax(dim=1).double() / count
    last = (count - marked.flip(1).argmax(dim=1)).double() / count
    return first, last
