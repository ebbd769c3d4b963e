"""Images and outlines as text, so that one file holds the whole page."""

import base64
import io
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from palpate.report.strips import outline

_QUALITY: Final = 82  # noise is what JPEG is bad at; below, the grain of an attack turns to blocks


def data_uri(image: Float[np.ndarray, "3 h w"], longest: int) -> str:
    """The image as a JPEG inside a ``data:`` address, shrunk to at most ``longest`` pixels.

    For looking at only: what is measured is never compressed.
    """
    pixels = np.moveaxis((image * 255).round().clip(0, 255).astype(np.uint8), 0, -1)
    picture = Image.fromarray(pixels)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def svg_path(mask: Bool[np.ndarray, "h w"]) -> str:
    """The outline of a mask as the ``d`` of an SVG path, in pixels of the mask.

    >>> svg_path(np.ones((2, 2), dtype=bool)).endswith("Z")
    True
    """
    parts = []
    for line in outline(mask):
        points = " ".join(f"{x:.1f} {y:.1f}" for x, y in line[:-1])
        parts.append(f"M{points}Z")
    return "".join(parts)
