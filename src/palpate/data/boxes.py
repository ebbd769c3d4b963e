"""Bounding boxes of masks, for models with box prompts."""

from collections.abc import Sequence

import torch
from torch import Tensor

from palpate.types import Box, Masks

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)  # the box of an empty mask


class Prompt(str):
    """A text prompt with a box. Deprecated: pass ``boxes=[...]`` to a model that wants boxes.

    Args:
        text: The text.
        box: Left, top, right and bottom edge as fractions of width and height, in [0, 1].

    Raises:
        ValueError: If the box is outside the image or has no area.
    """

    box: Box

    def __new__(cls, text: str, box: Sequence[float | int]) -> "Prompt":
        made = super().__new__(cls, text)
        made.box = check_box(box)
        return made

    def __getnewargs__(self) -> tuple[str, Box]:  # type: ignore[override]
        return str(self), self.box  # pickle passes these to __new__

    def saying(self, text: str) -> "Prompt":
        """Another text with the same box."""
        return Prompt(text, self.box)


def check_box(box: Sequence[float | int]) -> Box:
    """Check a box and convert it to four floats.

    Args:
        box: Left, top, right and bottom edge as fractions of width and height.

    Raises:
        ValueError: If the box does not have four edges, is outside the image or has no area.
    """
    left, top, right, bottom = map(float, box) if len(box) == 4 else (0.0,) * 4
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(
            "Expected a box of left, top, right and bottom edge as shares of the image, from 0 to "
            f"1 with left < right and top < bottom, got {box}."
        )
    return left, top, right, bottom


def boxes_of(masks: Masks) -> list[Box]:
    """Compute the tight bounding box of each mask, including the full extent of its pixels.

    The box of an empty mask is the whole image, which tells a model nothing about the mask.

    Args:
        masks: Ground-truth masks ``(b, 1, h, w)``.

    Returns:
        Left, top, right and bottom edge of each box, as fractions of width and height.
    """
    left, right = _extent(masks.any(dim=2))
    top, bottom = _extent(masks.any(dim=3))
    edges = torch.stack([left, top, right, bottom], dim=1)
    present = masks.flatten(1).any(dim=1).tolist()
    found = (tuple(each) for each in edges.tolist())
    return [box if there else WHOLE for box, there in zip(found, present, strict=True)]


def _extent(lines: Tensor) -> tuple[Tensor, Tensor]:
    """Start of the first and end of the last marked line of ``(b, 1, n)``, as fractions of n."""
    marked = lines.flatten(1).to(torch.uint8)
    count = marked.shape[1]
    first = marked.argmax(dim=1).double() / count
    last = (count - marked.flip(1).argmax(dim=1)).double() / count
    return first, last
