"""Masks from polygons and run lengths in JSON, oriented like their images."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from palpate.data.prepare.pictures import opened
from palpate.data.prepare.source import Source
from palpate.data.reading.orientation import orientation, turned, upright_size

# A function that draws a part of a mask, given the part and (height, width), and the part.
Drawing = tuple[Callable[[Any, tuple[int, int]], NDArray[np.bool_]], Any]


def drawn_mask(
    source: Source,
    picture: str,
    parts: Sequence[Drawing],
    label: str,
    size: tuple[int, int] | None = None,
) -> NDArray[np.bool_]:
    """Draw the union of the parts of a mask, upright like its image, ``(h, w)``.

    Coordinates refer to the image as stored. If ``size`` is the size of the image after applying
    its EXIF orientation, they refer to the image as displayed.

    Args:
        source: Source that contains the image.
        picture: Name of the image.
        parts: Parts to draw; without parts, the mask is empty.
        label: Name of the mask in errors.
        size: Width and height of the image according to the annotation file.

    Raises:
        ValueError: If the image cannot be read, or the mask is of another size.
    """
    with opened(source, picture) as image:
        turn, stored = orientation(image), image.size
    displayed = upright_size(stored, turn)
    as_displayed = size == displayed != stored
    width, height = displayed if as_displayed else stored
    if size is not None and size != (width, height):
        raise ValueError(
            f"Expected {label} to be of an image of {width}x{height} pixels, as "
            f"{source.label(picture)} has, got {size[0]}x{size[1]}. Give the images that were "
            "annotated."
        )
    mask = np.zeros((height, width), dtype=np.bool_)
    for draw, part in parts:
        try:
            mask |= draw(part, (height, width))
        except ValueError as error:
            raise ValueError(
                f"Expected a mask for {source.label(picture)} in {label}, but: {error}. Export "
                "the annotations again."
            ) from error
    if as_displayed or turn == 1:
        return mask
    return np.asarray(turned(Image.fromarray(mask.astype(np.uint8)), turn)) > 0
