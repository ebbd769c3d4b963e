"""Rendering of an endoscopic image: lamp, reflections, camera and overlay."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from palpate.data.phantoms.bowel import Tissue, add_stool, paint_wall
from palpate.data.phantoms.canvas import Canvas, Colours, Field, blend, colour, ramp, soften
from palpate.data.phantoms.endoscopy import EndoscopyScene, Frame
from palpate.data.phantoms.polyps import add_polyp

_EXPOSURE = (1.8, 3.2)  # gain before the camera saturates
Mixing: TypeAlias = tuple[tuple[float, float, float], ...]

_LAMP = colour(1.0, 0.98, 0.93)
_SPECKS = 75  # lattice cells of the reflections


@dataclass(frozen=True)
class Endoscope:
    """Light and camera of an endoscope.

    Attributes:
        colours: Matrix (3, 3) from tissue colour to image colour, both red, green, blue.
        exposure: Gain before saturation.
        blur: Strength of the optical blur, see :func:`soften`.
        grain: Standard deviation of the sensor noise; the image range is [0, 1].
        fibres: Number of fibres across the image; 0 for a chip at the tip.
    """

    colours: Mixing = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    exposure: float = 1.0
    blur: float = 0.3
    grain: float = 0.010
    fibres: int = 0


ENDOSCOPES = {
    "white-light": Endoscope(),
    # Blue and green light only: vessels look dark, mucosa gray-green; light penetrates less.
    "narrow-band": Endoscope(
        colours=((0.15, 0.65, 0.00), (0.00, 0.80, 0.30), (0.00, 0.40, 0.75)),
        exposure=0.75,
        grain=0.02,
    ),
    "fibrescope": Endoscope(
        colours=((0.95, 0.1, 0.0), (0.05, 0.9, 0.0), (0.0, 0.15, 0.6)),
        exposure=0.8,
        blur=1.0,
        grain=0.02,
        fibres=90,
    ),
}


def paint_endoscopy(
    scene: EndoscopyScene, canvas: Canvas, endoscope: Endoscope, rng: np.random.Generator
) -> Colours:
    """Render a scene as an endoscopic image.

    Args:
        scene: Bowel wall, polyps and frame.
        canvas: Pixel grid to render on.
        endoscope: Light and camera.
        rng: Source of texture and noise.

    Returns:
        The image, (3, h, w) in [0, 1].
    """
    tissue = paint_wall(scene, canvas, rng)
    add_stool(tissue, canvas, rng)
    for polyp in scene.polyps:
        add_polyp(tissue, polyp, canvas, rng)
    shade = _shade(tissue, canvas, rng)
    exposure = np.float32(endoscope.exposure * rng.uniform(*_EXPOSURE))
    radiance = _mixed(tissue.albedo, endoscope) * (shade * tissue.light * exposure)
    picture = 1 - np.exp(-radiance)  # soft saturation, so that bright areas keep some structure
    shine = _reflections(tissue, shade, canvas, rng)
    picture = blend(picture, _LAMP, shine)
    picture = soften(picture, endoscope.blur)
    if endoscope.fibres:
        picture *= _bundle(canvas, endoscope.fibres)
    # After the optics: the recorder adds frame and text, which the lens cannot blur.
    picture = _overlay(picture, scene.frame, canvas, rng)
    grain = rng.standard_normal(picture.shape[1:], dtype=np.float32) * np.float32(endoscope.grain)
    return np.clip(picture + grain, 0, 1)


def _mixed(albedo: Colours, endoscope: Endoscope) -> Colours:
    mixed: Colours = np.tensordot(np.array(endoscope.colours, np.float32), albedo, axes=1)
    return mixed


def _shade(tissue: Tissue, canvas: Canvas, rng: np.random.Generator) -> Field:
    """Lambertian shading by a lamp beside the lens, (h, w)."""
    lamp_x, lamp_y = rng.uniform(-0.35, 0.35, 2).tolist()
    to_x, to_y = 0.6 * (lamp_x - canvas.x), 0.6 * (lamp_y - canvas.y)
    length = np.sqrt((1 + tissue.slope_x**2 + tissue.slope_y**2) * (1 + to_x**2 + to_y**2))
    cosine = (1 - tissue.slope_x * to_x - tissue.slope_y * to_y) / length
    lit: Field = np.maximum(cosine, np.float32(0.12))  # scattered light reaches every surface
    return lit


def _reflections(tissue: Tissue, shade: Field, canvas: Canvas, rng: np.random.Generator) -> Field:
    """Opacity of specular highlights: small, clustered, where wet tissue faces the lamp."""
    stretch = float(np.exp(rng.uniform(-0.5, 0.5)))
    specks = canvas.noise(rng, int(_SPECKS / stretch), int(_SPECKS * stretch))
    value = 0.7 * specks + 0.5 * canvas.noise(rng, 25) + 0.6 * canvas.noise(rng, 7)
    value += 1.2 * ramp(shade, 0.75, 1.0) + 0.8 * tissue.gloss
    start = rng.uniform(3.3, 4.6)
    return ramp(value, start, start + 0.45)


def _bundle(canvas: Canvas, fibres: int) -> Field:
    """Brightness pattern of a hexagonal fibre bundle, (h, w)."""
    # The sum of three plane waves 60 degrees apart is a hexagonal lattice.
    x, y = canvas.x * np.float32(np.pi * fibres / 2), canvas.y * np.float32(np.pi * fibres / 2)
    half, root = np.float32(0.5), np.float32(np.sqrt(3) / 2)
    waves = np.cos(2 * x) + np.cos(x + 2 * root * y) + np.cos(2 * half * x - 2 * root * y)
    raster: Field = 0.82 + 0.06 * waves
    return raster


def _overlay(picture: Colours, frame: Frame, canvas: Canvas, rng: np.random.Generator) -> Colours:
    """The image with the recorder's black frame and text."""
    picture = picture * frame.visible(canvas)
    if frame.text:
        picture = np.maximum(picture, 0.8 * _text(canvas, rng))
    return picture


def _text(canvas: Canvas, rng: np.random.Generator) -> Field:
    """Lines of illegible characters at the left border, as patient data look after scaling."""
    row, column = (canvas.y + 0.45) / 0.09, (canvas.x + 0.96) / 0.022
    line, mark = np.floor(row).astype(int), np.floor(column).astype(int)
    lengths = np.r_[rng.integers(0, 16, 5), 0]  # index 5 is for pixels outside the lines
    inside = (line >= 0) & (line < 5)
    written = (mark >= 0) & (mark < lengths[np.where(inside, line, 5)])
    strokes = rng.random((5 * 4, 16 * 3)) < 0.55
    part = np.floor(4 * (row - line) / 0.5).astype(int), np.floor(3 * (column - mark)).astype(int)
    drawn = strokes[np.clip(4 * line + part[0], 0, 19), np.clip(3 * mark + part[1], 0, 47)]
    text: Field = (written & drawn & (part[0] < 4)).astype(np.float32)
    return text
