"""Masks from run lengths (RLE) and polygons in COCO format, with validation.

The package pycocotools decodes the same run lengths, but it returns uninitialised memory if they
are too short for the image, and accepts polygons with NaN coordinates.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

_LARGEST = 1 << 28  # pixels; the largest whole-slide previews are smaller
_LONGEST_NUMBER = 7  # characters of five bits each


def from_runs(segmentation: Any, shape: tuple[int, int]) -> Mask:
    """Decode run lengths of alternating background and foreground, column by column.

    >>> from_runs({"size": [2, 3], "counts": [1, 2, 3]}, (2, 3)).astype(int).tolist()
    [[0, 1, 0], [1, 0, 0]]

    Args:
        segmentation: ``size`` (height, width) and ``counts``, as a list or compressed text.
        shape: Height and width of the image.

    Raises:
        ValueError: If the run lengths are invalid or do not fit the image.
    """
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise ValueError(
            f"expected run lengths with 'size' and 'counts', got {str(segmentation)[:60]}"
        )
    size, counts = segmentation["size"], segmentation["counts"]
    if size != list(shape):
        raise ValueError(f"expected run lengths for {list(shape)} (height, width), got {size}")
    if shape[0] * shape[1] > _LARGEST:
        raise ValueError(f"expected an image of at most {_LARGEST} pixels, got {size}")
    runs = _decompressed(counts) if isinstance(counts, str) else counts
    return _filled(_checked(runs, shape), shape)


def is_empty(segmentation: Any) -> bool:
    """Whether run lengths have no foreground, without drawing them; False for invalid ones."""
    if not isinstance(segmentation, dict):
        return False
    counts, size = segmentation.get("counts"), segmentation.get("size")
    runs = _decompressed(counts) if isinstance(counts, str) else counts
    if not (_are_numbers(runs) and _are_numbers(size)):
        return False
    return sum(runs) == prod(size) and not any(runs[1::2])


def from_polygons(polygons: Any, shape: tuple[int, int]) -> Mask:
    """Draw the union of polygons; a pixel is foreground if its centre is inside.

    >>> from_polygons([[1, 0, 3, 0, 3, 1, 1, 1]], (2, 4)).astype(int).tolist()
    [[0, 1, 1, 0], [0, 0, 0, 0]]

    Args:
        polygons: Lists ``x, y, x, y, ...`` of at least three corners, in pixels from the upper
            left corner of the image; self-intersections follow the even-odd rule.
        shape: Height and width of the image.

    Raises:
        ValueError: If the polygons are invalid.
    """
    if not isinstance(polygons, list) or not polygons:
        raise ValueError(f"expected a list of polygons, got {str(polygons)[:60]}")
    mask = np.zeros(shape, dtype=np.bool_)
    for polygon in polygons:
        mask |= _polygon(_corners(polygon), shape)
    return mask


def _decompressed(text: str) -> list[int]:
    """Run lengths from text: 5 bits per character and a continuation bit; later runs are deltas."""
    runs: list[int] = []
    value, bits = 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or bits >= 5 * _LONGEST_NUMBER:
            raise ValueError(f"expected compressed run lengths, got {text[:20]!r}")
        value |= (code & 31) << bits
        bits += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << bits
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, bits = 0, 0
    if bits:
        raise ValueError("expected whole run lengths, got a text that ends within one")
    return runs


def _are_numbers(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(value) is int for value in values)


def _checked(runs: Any, shape: tuple[int, int]) -> Sequence[int]:
    if not _are_numbers(runs) or any(run < 0 for run in runs):
        raise ValueError(f"expected run lengths of zero or more, got {str(runs)[:60]}")
    if sum(runs) != shape[0] * shape[1]:
        raise ValueError(
            f"expected run lengths that add up to {shape[0]} x {shape[1]} pixels, got {sum(runs)}"
        )
    return runs


def _filled(runs: Sequence[int], shape: tuple[int, int]) -> Mask:
    values = np.arange(len(runs)) % 2 == 1
    columns = np.repeat(values, np.asarray(runs, dtype=np.int64))
    return np.ascontiguousarray(columns.reshape(shape, order="F"))


def _corners(polygon: Any) -> NDArray[np.float64]:
    numbers = isinstance(polygon, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in polygon
    )
    if not numbers or len(polygon) < 6 or len(polygon) % 2:
        raise ValueError(
            f"expected polygons x, y, x, y, ... of three corners or more, got {str(polygon)[:60]}"
        )
    corners = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(corners).all():
        raise ValueError("expected finite corners of a polygon")
    return corners


def _polygon(corners: NDArray[np.float64], shape: tuple[int, int]) -> Mask:
    """Scan line fill by the even-odd rule, at the centres of the pixels of each row."""
    height, width = shape
    (x0, y0), (x1, y1) = corners.T, np.roll(corners, -1, axis=0).T
    mask = np.zeros(shape, dtype=np.bool_)
    first = max(0, int(np.ceil(y0.min() - 0.5)))
    last = min(height - 1, int(np.floor(y0.max() - 0.5)))
    for row in range(first, last + 1):
        middle = row + 0.5
        crosses = (y0 <= middle) != (y1 <= middle)
        share = (middle - y0[crosses]) / (y1[crosses] - y0[crosses])
        at = np.sort(x0[crosses] + share * (x1[crosses] - x0[crosses]))
        edges = np.clip(np.ceil(at - 0.5), 0, width).astype(int)
        for left, right in zip(edges[::2], edges[1::2], strict=True):
            mask[row, left:right] = True
    return mask
