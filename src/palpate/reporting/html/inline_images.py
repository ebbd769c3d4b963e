"""Images and outlines as text, so that one file holds the whole page."""

import base64
import io
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, features

from palpate.reporting.figures.strips import outline

# WebP keeps the grain of an attack in half the bytes of JPEG, but Pillow may lack it.
_FORMAT: Final = "WEBP" if features.check("webp") else "JPEG"


def data_uri(image: Float[np.ndarray, "3 h w"], longest: int, quality: int = 80) -> str:
    """The image as a compressed picture in a ``data:`` address, at most ``longest`` pixels long.

    For looking at only: what is measured is never compressed.
    """
    pixels = np.moveaxis((image * 255).round().clip(0, 255).astype(np.uint8), 0, -1)
    picture = Image.fromarray(pixels)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, _FORMAT, quality=quality)
    return f"data:image/{_FORMAT.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def svg_path(mask: Bool[np.ndarray, "h w"]) -> str:
    """The outline of a mask as the ``d`` of an SVG path, in pixels of the mask.

    >>> svg_path(np.ones((2, 2), dtype=bool)).endswith("Z")
    True
    """
    parts = []
    for line in outline(mask):
        points = " ".join(f"{x:g} {y:g}" for x, y in _corners(line))
        parts.append(f"M{points}Z")
    return "".join(parts)


def _corners(line: np.ndarray) -> np.ndarray:
    """The points at which a closed line turns; those on a straight stretch say nothing."""
    points = line[:-1]
    turns = (np.roll(points, -1, 0) - points != points - np.roll(points, 1, 0)).any(axis=1)
    corners: np.ndarray = points[turns]
    return corners
