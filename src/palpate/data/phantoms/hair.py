"""Rendering of hairs in dermoscopic images."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from palpate.data.phantoms.canvas import Canvas, Colours, Field, colour

_MOST = 22  # hairs in an image
_SHARPER = 2  # supersampling factor, for antialiased edges
_POINTS = 14  # points of each curve
_DARK, _FAIR = colour(0.13, 0.09, 0.08), colour(0.62, 0.48, 0.38)


def hairs(canvas: Canvas, rng: np.random.Generator) -> tuple[Field, Colours]:
    """Render hairs, which grow in about one direction and have one colour per image.

    Half of the images have no or few hairs.

    Args:
        canvas: Pixel grid to render on.
        rng: Source of number, direction and colour.

    Returns:
        Opacity of the hairs, (h, w) in [0, 1], and their colour, (3, 1, 1).
    """
    count = int(_MOST * max(0.0, rng.uniform(-0.7, 1.0)) ** 1.5)
    dark = rng.random() < 0.75
    opacity = float(rng.uniform(0.55, 0.95) if dark else rng.uniform(0.3, 0.6))
    tone = _DARK if dark else _FAIR
    if not count:
        return np.zeros((canvas.size, canvas.size), np.float32), tone
    sheet = Image.new("L", (_SHARPER * canvas.size, _SHARPER * canvas.size))
    pen = ImageDraw.Draw(sheet)
    direction, spread = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 1.2)
    thickness = rng.uniform(0.006, 0.016)  # in half-sides
    for _ in range(count):
        curve = _curve(rng, direction + spread * rng.standard_normal())
        _draw(pen, curve, thickness * rng.uniform(0.7, 1.3), _SHARPER * canvas.size)
    reduced = sheet.reduce(_SHARPER)
    cover: Field = np.asarray(reduced, np.float32) * np.float32(opacity / 255)
    return cover, tone


def _curve(rng: np.random.Generator, direction: float) -> NDArray[np.float64]:
    """Points of a curve whose curvature changes linearly, (n, 2)."""
    length = rng.uniform(0.3, 1.8)
    bend, change = rng.normal(0, 0.5), rng.normal(0, 0.7)
    t = np.linspace(0, 1, _POINTS)
    heading = direction + bend * t + change * t * t
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * (length / _POINTS)
    points: NDArray[np.float64] = rng.uniform(-1.1, 1.1, 2) + np.cumsum(steps, axis=0)
    return points


def _draw(
    pen: ImageDraw.ImageDraw, curve: NDArray[np.float64], thickness: float, side: int
) -> None:
    """Draw a curve as a polygon that tapers towards its tip."""
    ahead = np.gradient(curve, axis=0)
    normal = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    # At least 1.5 pixels of the supersampled sheet, or the hair would break up into dots.
    half = 0.5 * max(thickness, 3 / side) * np.linspace(1.0, 0.35, len(curve))[:, None]
    rim = np.concatenate([curve + half * normal, (curve - half * normal)[::-1]])
    pen.polygon([(float(x), float(y)) for x, y in (rim + 1) * (side / 2)], fill=255)
