"""Attributes measured on a mask: number, sizes, positions and shape of its connected parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from scipy import ndimage

from palpate.data.wording.shapes import OUTLINES, shape_words
from palpate.text.positions import place_at

SIZES = ("tiny", "small", "medium", "large")

_TOUCHING = np.ones((3, 3), dtype=bool)  # 8-connectivity
_OUTLINED = 20  # the shape is omitted for masks with more parts


@dataclass(frozen=True)
class Rule:
    """Thresholds between words. Areas are fractions of the image area.

    Attributes:
        speck: Parts with a smaller area are ignored, unless all parts are smaller.
        tiny: Parts with a smaller area are tiny.
        small: Parts with an area from ``tiny`` up to this are small.
        large: Parts with at least this area are large; those between ``small`` and this are medium.
        columns: Side whose thirds separate left, centre and right: ``width``, as the words mean; or
            ``height`` to reproduce the published annotations, which puts the borders of wide images
            too far to the left. See ``docs/prompts.md``.
        whole: If at least this fraction of a part is in one of nine equal fields of the image, the
            position is that field; otherwise it is that of the centre of its bounding box. Above 1,
            the bounding box is always used.
    """

    speck: float = 1e-4
    tiny: float = 1e-3
    small: float = 0.08
    large: float = 0.3
    columns: Literal["width", "height"] = "width"
    whole: float = 2.0


TRUE = Rule()
# Reproduces the annotations of Poudel et al., 2024, with thresholds estimated from these.
PUBLISHED = Rule(speck=0.0, columns="height", whole=0.87)


@dataclass(frozen=True)
class Attributes:
    """Attributes of a mask, in words.

    Attributes:
        number: Number of connected parts.
        sizes: Size word of each part, from the largest to the smallest.
        places: Position of each part in the image, in the same order.
        shape: Shape of the parts; None if they differ.
        outline: ``regular`` if the outlines of all parts are, else ``irregular``.
    """

    number: int
    sizes: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    shape: str | None = None
    outline: str | None = None


class _Part(NamedTuple):
    pixels: NDArray[np.bool_]  # within the box
    top: int
    left: int
    area: int


def describe_mask(mask: Bool[np.ndarray, "h w"], rule: Rule = TRUE) -> Attributes:
    """Measure number, sizes, positions and shape of the connected parts of a mask.

    >>> mask = np.zeros((180, 180), dtype=bool)
    >>> mask[20:40, 20:40] = mask[120:178, 60:118] = True
    >>> mask[90, 90] = True  # but a speck
    >>> found = describe_mask(mask)
    >>> found.number, found.sizes, found.places, found.shape
    (2, ('medium', 'small'), ('bottom', 'top left'), 'square')
    >>> describe_mask(np.zeros((180, 180), dtype=bool)).number
    0

    Args:
        mask: Binary mask (h, w); parts are 8-connected.
        rule: Thresholds between words.

    Returns:
        The attributes; only ``number`` is set for an empty mask.
    """
    parts = _parts(mask, rule.speck)
    if not parts:
        return Attributes(0)
    shape, outline = _outlined(parts)
    return Attributes(
        number=len(parts),
        sizes=tuple(_size(part.area / mask.size, rule) for part in parts),
        places=tuple(_place(part, mask.shape, rule) for part in parts),
        shape=shape,
        outline=outline,
    )


def _parts(mask: NDArray[np.bool_], speck: float) -> list[_Part]:
    """Connected parts above the speck size, from the largest to the smallest."""
    # Labelling only the bounding box of the foreground is faster.
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return []
    top, left = int(rows[0]), int(columns[0])
    labels, number = ndimage.label(mask[top : rows[-1] + 1, left : columns[-1] + 1], _TOUCHING)
    areas = np.bincount(labels.ravel(), minlength=number + 1)[1:]
    boxes = ndimage.find_objects(labels)
    largest_first = np.argsort(-areas, kind="stable")
    counted = [i for i in largest_first if areas[i] >= speck * mask.size] or largest_first[:1]
    return [
        _Part(labels[box] == i + 1, top + box[0].start, left + box[1].start, int(areas[i]))
        for i, box in ((i, boxes[i]) for i in counted)
    ]


def _size(area: float, rule: Rule) -> str:
    return SIZES[sum(area >= limit for limit in (rule.tiny, rule.small, rule.large))]


def _place(part: _Part, shape: tuple[int, ...], rule: Rule) -> str:
    """Position word of a part, by one of the two rules of ``Rule.whole``."""
    if rule.whole <= 1:
        shares, word = _ninths(part, shape)
        if shares >= rule.whole:
            return word
    height, width = part.pixels.shape
    across = shape[1] if rule.columns == "width" else shape[0]
    return place_at((part.left + width / 2) / across, (part.top + height / 2) / shape[0])


def _ninths(part: _Part, shape: tuple[int, ...]) -> tuple[float, str]:
    """Largest fraction of a part in a ninth of the image, and the word for that ninth."""
    rows, columns = np.nonzero(part.pixels)
    fields = (rows + part.top) * 3 // shape[0] * 3 + (columns + part.left) * 3 // shape[1]
    counts = np.bincount(fields, minlength=9)
    row, column = divmod(int(counts.argmax()), 3)
    return float(counts.max() / part.area), place_at((column + 0.5) / 3, (row + 0.5) / 3)


def _outlined(parts: Sequence[_Part]) -> tuple[str | None, str]:
    """Common shape of all parts, or None, and the most irregular outline of the first ones."""
    shapes, outlines = zip(*(shape_words(part.pixels) for part in parts[:_OUTLINED]), strict=True)
    common = len(set(shapes)) == 1 and len(parts) <= _OUTLINED
    return shapes[0] if common else None, max(outlines, key=OUTLINES.index)
