"""Rendering of an ultrasound image: beams, speckle, attenuation and compression.

Everything is computed on a grid of depth by angle and scan-converted to pixels last. Therefore
speckle widens with depth, and shadows and drop-outs run along the beams, as in real images.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from palpate.data.phantoms.canvas import Canvas, Colours, Field, noise, ramp
from palpate.data.phantoms.echo import EchoScene, Sector
from palpate.data.phantoms.thorax import echogenicity

_SAMPLES, _BEAMS = 256, 128  # size of the grid of depth by angle
_MIDDLE = 0.36  # gray value that a change of contrast does not affect
_CLARITY = {"good": 1.0, "medium": 0.65, "poor": 0.3}  # by the quality of the recording


@dataclass(frozen=True)
class Scanner:
    """Imaging and display settings of an ultrasound scanner.

    Attributes:
        cells: Number of speckle grains along and across the beams; lower for lower frequencies.
        speckle: Strength of the speckle in the log-compressed image.
        gain: Offset of the log-compressed image.
        contrast: Contrast factor of the log-compressed image; lower for a wider dynamic range.
        haze: Strength of the clutter, which is largest near the transducer.
    """

    cells: tuple[int, int] = (140, 60)
    speckle: float = 0.068
    gain: float = 0.0
    contrast: float = 1.0
    haze: float = 0.10


SCANNERS = {
    "harmonic": Scanner(),
    # Imaging at the transmitted frequency: coarser, with more clutter and less contrast.
    "fundamental": Scanner(cells=(70, 26), speckle=0.15, gain=0.10, contrast=0.5, haze=0.42),
    "low-gain": Scanner(gain=-0.24, contrast=1.15, speckle=0.09),
}


def paint_echo(
    scene: EchoScene, canvas: Canvas, scanner: Scanner, rng: np.random.Generator
) -> Colours:
    """Render a scene as an ultrasound image.

    Args:
        scene: Heart and recording.
        canvas: Pixel grid to render on.
        scanner: Imaging and display settings.
        rng: Source of speckle and artefacts.

    Returns:
        The image, (3, h, w) in [0, 1], with three equal channels.
    """
    depth, angle = _grid()
    reach = depth * np.float32(scene.sector.depth)
    x = reach * np.sin(angle * np.float32(scene.sector.half_angle))
    y = reach * np.cos(angle * np.float32(scene.sector.half_angle)) + np.float32(scene.sector.top)
    clarity = _CLARITY[scene.quality]
    level = _across_beams(echogenicity(scene, x, y, clarity, rng))
    level = _along_beams(level, depth, clarity, scanner, rng)
    # Speckle is nearly independent of brightness after log compression, but not in black areas.
    level += scanner.speckle * (0.55 + np.clip(level, 0, 1)) * _speckle(scanner, rng)
    contrast = scanner.contrast * float(rng.uniform(0.9, 1.5))
    level = _MIDDLE + contrast * (level - _MIDDLE) + scanner.gain
    picture = _to_pixels(level, scene.sector, canvas)
    picture = np.clip(picture, 0, 1)
    return np.repeat(picture[None], 3, axis=0)


def _along_beams(
    level: Field, depth: Field, clarity: float, scanner: Scanner, rng: np.random.Generator
) -> Field:
    """Apply attenuation with depth, shadows of ribs and lung, and clutter near the transducer."""
    shape = level.shape
    beams = noise(rng, (1, _BEAMS), (1, 9)) * ramp(depth, 0.0, 0.5)
    sides = ramp(np.abs(_grid()[1]), 0.55, 1.05) * np.float32(rng.uniform(0, 0.25))
    lost = (0.13 - 0.08 * clarity) * beams + sides * (1.4 - clarity)
    attenuation = np.float32(rng.uniform(0.0, 0.28)) * (depth - 0.4)
    fog = scanner.haze + (0.32 - 0.26 * clarity)
    cap = ramp(depth, 0.13, 0.05)  # reverberations between transducer and skin
    near = 0.45 + 0.45 * ramp(depth, 0.5, 0.0) + 0.6 * cap
    clutter = fog * near * (1 + 0.35 * noise(rng, shape, (5, 5)))
    shown = level * np.float32(0.55 + 0.45 * clarity) - attenuation - lost
    reaching: Field = np.maximum(shown, 0) + clutter
    return reaching


def _across_beams(level: Field) -> Field:
    """Blur across the beams, each of which is wider than the distance to the next."""
    wide = level.copy()
    wide[:, 2:-2] = (
        0.3 * level[:, 2:-2]
        + 0.22 * (level[:, 1:-3] + level[:, 3:-1])
        + 0.13 * (level[:, :-4] + level[:, 4:])
    )
    return wide


def _speckle(scanner: Scanner, rng: np.random.Generator) -> Field:
    """Log of a Rayleigh-distributed amplitude, (depth, angle), of about mean 0 and deviation 1."""
    # Squared real and imaginary part of the echo; the constant bounds the logarithm.
    shape = (_SAMPLES, _BEAMS)
    power = noise(rng, shape, scanner.cells) ** 2 + noise(rng, shape, scanner.cells) ** 2
    speckle: Field = (np.log(power + np.float32(0.05)) - 0.16) / np.float32(1.1)
    return speckle


def _to_pixels(level: Field, sector: Sector, canvas: Canvas) -> Field:
    """Convert from depth and angle to pixels, bilinearly; black outside the fan."""
    index, weights, shown = _conversion(canvas.size, sector)
    flat = level.ravel()
    picture = np.zeros(canvas.size**2, np.float32)
    value = flat[index] * weights[0] + flat[index + 1] * weights[1]
    value += flat[index + _BEAMS] * weights[2] + flat[index + _BEAMS + 1] * weights[3]
    picture[shown] = value
    return picture.reshape(canvas.size, canvas.size)


@lru_cache(maxsize=1)
def _grid() -> tuple[Field, Field]:
    """Depth in [0, 1], (depth, 1), and angle in [-1, 1], (1, angle), of the grid."""
    depth = np.linspace(0, 1, _SAMPLES, dtype=np.float32)[:, None]
    return depth, np.linspace(-1, 1, _BEAMS, dtype=np.float32)[None, :]


def _conversion(
    size: int, sector: Sector
) -> tuple[NDArray[np.int32], tuple[Field, Field, Field, Field], NDArray[np.intp]]:
    """Bilinear interpolation from the grid to the pixels of the fan.

    Returns:
        Flat index of the upper left grid point, weights of the four neighbours, and flat index of
        the pixel, for each pixel in the fan.
    """
    canvas = Canvas(size)
    shown = np.flatnonzero(sector.shown(canvas))
    dx = canvas.x[0][shown % size]
    dy = canvas.y[:, 0][shown // size] - np.float32(sector.top)
    row = np.sqrt(dx * dx + dy * dy) * np.float32((_SAMPLES - 1) / sector.depth)
    column = (np.arctan(dx / dy) / np.float32(sector.half_angle) + 1) * np.float32((_BEAMS - 1) / 2)
    top = np.minimum(row.astype(np.int32), _SAMPLES - 2)
    left = np.clip(column.astype(np.int32), 0, _BEAMS - 2)
    down, over = row - top, column - left
    weights = ((1 - down) * (1 - over), (1 - down) * over, down * (1 - over), down * over)
    return top * _BEAMS + left, weights, shown
