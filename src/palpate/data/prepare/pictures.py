"""Reading of images and masks from a source, upright and of the same size."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from palpate.data.prepare.source import Source
from palpate.data.reading.decode import foreground, plain
from palpate.data.reading.files import naming
from palpate.data.reading.orientation import (
    check_shapes,
    orientation,
    orientations,
    turned,
    turned_on_trust,
    upright_size,
)

Foreground = Callable[[Image.Image], NDArray[np.bool_]]  # of a mask as it is stored


def read_image(source: Source, image: str) -> NDArray[np.uint8]:
    """Read an image upright, ``(h, w, 3)``, by the rules of :mod:`palpate.data.reading.decode`.

    Raises:
        ValueError: If it cannot be read.
    """
    with opened(source, image) as picture, naming(source.label(image)):
        upright = plain(picture, orientation(picture))
        if upright.mode != "F":
            return np.asarray(upright)
        grey = np.asarray(upright) * 255
        return np.repeat(grey.clip(0, 255).round().astype(np.uint8)[..., None], 3, axis=2)


def of_one_colour(drawing: Image.Image) -> NDArray[np.bool_]:
    """Foreground of a binary mask, by :func:`palpate.data.reading.masks.read_mask`."""
    return foreground(drawing)


def read_masks(
    source: Source, image: str, *masks: str, threshold: Foreground = of_one_colour
) -> NDArray[np.bool_]:
    """Read the union of the masks of an image, upright and of its size, ``(h, w)``.

    Args:
        source: Contains the files.
        image: Name of the image.
        masks: Names of its masks; without any, the result is empty.
        threshold: Gives the foreground of a mask as stored; by default half of its range.

    Raises:
        ValueError: If a mask cannot be read or its aspect ratio is not that of the image.
    """
    with opened(source, image) as picture:
        width, height = upright_size(picture.size, orientation(picture))
        parts = [_mask(source, picture, mask, (width, height), threshold) for mask in masks]
    return reduce(np.logical_or, parts, np.zeros((height, width), dtype=np.bool_))


@contextmanager
def opened(source: Source, name: str) -> Iterator[Image.Image]:
    """Open an image file of a source without decoding it.

    Raises:
        ValueError: If the file is not an image; names the file.
    """
    content = BytesIO(source.read(name))
    with naming(source.label(name)):
        picture = Image.open(content)
    picture.filename = source.label(name)
    with picture:
        yield picture


def _mask(
    source: Source,
    picture: Image.Image,
    mask: str,
    size: tuple[int, int],
    threshold: Foreground,
) -> NDArray[np.bool_]:
    with opened(source, mask) as drawing:
        turns = orientations(picture, drawing)
        check_shapes(picture, drawing, turns)
        if turned_on_trust(picture, drawing):
            source.doubts.append(source.label(mask))
        with naming(source.label(mask)):
            outline = Image.fromarray(threshold(drawing).astype(np.uint8))
    outline = turned(outline, turns[1])
    if outline.size != size:
        outline = outline.resize(size, Image.Resampling.NEAREST)
    return np.asarray(outline) > 0
