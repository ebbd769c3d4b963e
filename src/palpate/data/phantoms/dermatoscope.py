"""Rendering of a dermoscopic image: light, gel, hairs, ruler, tube and camera."""

from dataclasses import dataclass

import numpy as np

from palpate.data.phantoms.canvas import Canvas, Colours, Field, blend, colour, ramp, soften
from palpate.data.phantoms.dermoscopy import DermoscopyScene
from palpate.data.phantoms.hair import hairs
from palpate.data.phantoms.outline import Outline
from palpate.data.phantoms.skin import paint_skin

_SKETCH = Canvas(64)  # overlaps are tested here, so that they do not depend on the image size
_INK = colour(0.16, 0.15, 0.17)
_STICKERS = (
    colour(0.05, 0.55, 0.85), colour(0.93, 0.85, 0.15), colour(0.95, 0.55, 0.12),
    colour(0.35, 0.75, 0.70),
)  # fmt: skip


@dataclass(frozen=True)
class Dermatoscope:
    """Light and camera of a dermatoscope.

    Attributes:
        gain: Factors of red, green and blue.
        contrast: Contrast factor about mid-gray.
        falloff: Darkening from the centre to the corners.
        glare: Strength of the reflection of the light source.
        blur: Strength of the optical blur, see :func:`soften`.
        grain: Standard deviation of the sensor noise; the image range is [0, 1].
    """

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    falloff: float = 0.25
    glare: float = 0.0
    blur: float = 0.4
    grain: float = 0.006


DERMATOSCOPES = {
    "contact": Dermatoscope(),
    # A phone without a polarising filter in poor light: bluish, low contrast, glare and noise.
    "smartphone": Dermatoscope(
        gain=(0.68, 0.86, 1.15), contrast=0.5, falloff=0.9, glare=0.3, blur=1.4, grain=0.045
    ),
    "cross-polarised": Dermatoscope(gain=(1.02, 0.82, 0.92), contrast=1.3, falloff=0.1),
}


def paint_dermoscopy(
    scene: DermoscopyScene,
    canvas: Canvas,
    dermatoscope: Dermatoscope,
    rng: np.random.Generator,
) -> Colours:
    """Render a scene as a dermoscopic image.

    Args:
        scene: Skin and lesions.
        canvas: Pixel grid to render on.
        dermatoscope: Light and camera.
        rng: Source of texture, artefacts and noise.

    Returns:
        The image, (3, h, w) in [0, 1].
    """
    picture = paint_skin(scene, canvas, rng)
    # Composited from back to front; light and camera affect everything.
    picture = blend(picture, colour(1.0, 1.0, 1.0), _gel(canvas, rng))
    cover, tone = hairs(canvas, rng)
    picture = blend(picture, tone, cover)
    picture = _sticker(picture, scene, canvas, rng)
    picture = blend(picture, _INK, _ruler(canvas, rng))
    picture *= _light(canvas, dermatoscope, rng)
    picture += dermatoscope.glare * _glare(canvas, rng)
    picture *= colour(*dermatoscope.gain) * _tint(rng)
    picture = 0.5 + dermatoscope.contrast * (picture - 0.5)
    edge = scene.tube + float(rng.uniform(0.02, 0.12))
    radius = np.sqrt(canvas.x**2 + canvas.y**2)
    picture = soften(picture, dermatoscope.blur) * ramp(radius, edge, scene.tube)
    grain = rng.standard_normal((canvas.size, canvas.size), dtype=np.float32)
    return np.clip(picture + np.float32(dermatoscope.grain) * grain, 0, 1)


def _tint(rng: np.random.Generator) -> Colours:
    """Random white balance, (3, 1, 1); it differs from camera to camera."""
    return np.exp(colour(*rng.normal(0, [0.02, 0.015, 0.035])))


def _light(canvas: Canvas, dermatoscope: Dermatoscope, rng: np.random.Generator) -> Field:
    """Illumination, (h, w): brightest near the centre, off-centre if the instrument is tilted."""
    x, y = (canvas.x - float(rng.normal(0, 0.3))), (canvas.y - float(rng.normal(0, 0.3)))
    fall = dermatoscope.falloff * float(rng.uniform(0.3, 1.5))
    light: Field = float(rng.uniform(0.9, 1.12)) - 0.5 * fall * (x * x + y * y)
    return light


def _glare(canvas: Canvas, rng: np.random.Generator) -> Field:
    """Reflection of the light source: a spot with an irregular border, (h, w) in [0, 1]."""
    x, y = rng.uniform(-0.7, 0.7, 2).tolist()
    distance = (canvas.x - x) ** 2 + (canvas.y - y) ** 2
    return ramp(distance + 0.05 * canvas.noise(rng, 8), 0.35, 0.0)


def _gel(canvas: Canvas, rng: np.random.Generator) -> Field:
    """Opacity of the bright rims of air bubbles in the gel, (h, w)."""
    shine = np.zeros((canvas.size, canvas.size), np.float32)
    # Two of three images have no bubbles.
    for _ in range(max(0, int(rng.integers(-12, 7)))):
        x, y = rng.uniform(-1, 1, 2).tolist()
        radius = float(rng.uniform(0.015, 0.09))
        distance = np.sqrt((canvas.x - x) ** 2 + (canvas.y - y) ** 2)
        rim = ramp(np.abs(distance - radius), 0.4 * radius, 0.0)
        lit = 0.6 + 0.4 * (canvas.x - x - canvas.y + y) / (1.5 * distance + 0.01)
        shine = np.maximum(shine, 0.3 * rim * np.clip(lit, 0, 1))
    return shine


def _sticker(
    picture: Colours, scene: DermoscopyScene, canvas: Canvas, rng: np.random.Generator
) -> Colours:
    """Add part of a coloured sticker at the border of some images, never over a lesion."""
    # All numbers are drawn in any case: what follows must not depend on whether there is one.
    has_one, kind = rng.random() < 0.15, int(rng.integers(len(_STICKERS)))
    angle = float(rng.uniform(0, 2 * np.pi))
    reach, radius = float(rng.uniform(1.1, 1.5)), float(rng.uniform(0.4, 0.7))
    sticker = Outline(reach * float(np.cos(angle)), reach * float(np.sin(angle)), radius)
    covered = sticker.level(_SKETCH) < 1
    lesions = range(len(scene.lesions))
    if not has_one or any((scene.mask(n, _SKETCH) & covered).any() for n in lesions):
        return picture
    edge = canvas.pixel / radius
    return blend(picture, _STICKERS[kind], ramp(sticker.level(canvas), 1 + edge, 1 - edge))


def _ruler(canvas: Canvas, rng: np.random.Generator) -> Field:
    """Opacity of a ruler along one border in a third of the images; every fifth tick is longer."""
    angle = float(rng.integers(4)) * np.pi / 2 + float(rng.normal(0, 0.12))
    along = canvas.x * float(np.cos(angle)) + canvas.y * float(np.sin(angle))
    outwards = canvas.y * float(np.cos(angle)) - canvas.x * float(np.sin(angle))
    spacing, shown = float(rng.uniform(0.05, 0.16)), rng.random() < 0.33
    if not shown:
        return np.zeros_like(along)
    tick = along / spacing
    nearest = np.round(tick)
    width = 0.5 * max(0.012, canvas.pixel)  # thinner ticks would vanish in small images
    line = ramp(np.abs(tick - nearest) * spacing, 2 * width, width)
    start = np.where(nearest % 5 == 0, np.float32(0.84), np.float32(0.90))
    return 0.8 * line * ramp(outwards - start, -canvas.pixel, canvas.pixel)
