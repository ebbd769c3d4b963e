"""Echogenicity of the tissues in an apical view, before beams and speckle."""

import numpy as np

from palpate.data.phantoms.canvas import Field, noise, ramp, ridge
from palpate.data.phantoms.echo import EchoScene, Heart

_BLOOD, _MUSCLE, _TISSUE = 0.16, 0.49, 0.34  # gray values in the log-compressed image
_VALVE, _PERICARDIUM = 0.42, 0.30  # gray values above those of their surroundings


def echogenicity(
    scene: EchoScene, x: Field, y: Field, clarity: float, rng: np.random.Generator
) -> Field:
    """Log-compressed brightness of the tissue at each point.

    Args:
        scene: Heart and recording.
        x: Horizontal coordinates of the points, (depth, angle).
        y: Vertical coordinates of the points, (depth, angle).
        clarity: Quality of the recording, up to 1; interfaces are more complete if it is high.
        rng: Source of the texture.

    Returns:
        Brightness, about 0 to 1, (depth, angle).
    """
    up, right = scene.heart.axes(x, y)
    wobble = 0.014 * noise(rng, x.shape, (22, 16))  # a real border is not as smooth as the mask
    cavity = scene.heart.ventricle(up, right) + wobble
    muscle = scene.heart.muscle(up, right) + wobble
    atrium = scene.heart.atrium(up, right) + wobble
    # From back to front: each structure overwrites what was drawn before it.
    level = _surroundings(x.shape, rng)
    if scene.view == "four-chamber":
        level = _right_heart(level, scene.heart, up, right, rng)
    level = _rim(level, muscle, 0.025, _PERICARDIUM, clarity, rng)
    level = _fill(level, muscle, _muscle(right, x.shape, rng))
    level = _rim(level, atrium, 0.022, 0.22, clarity, rng)
    level = _fill(level, cavity, _blood(x.shape, 0.0, rng))
    level = _fill(level, atrium, _blood(x.shape, 0.12 * float(rng.random()), rng))
    level = _papillary(level, scene, up, right, cavity, rng)
    return level + _valve(scene, up, right, rng)


def _surroundings(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Brightness of lung, liver and fat: streaks along and across the beams."""
    broad = 0.12 * noise(rng, shape, (8, 6)) + 0.07 * noise(rng, shape, (40, 10))
    deep = np.linspace(-0.05, 0.22, shape[0], dtype=np.float32)[:, None]
    tissue: Field = _TISSUE + broad + deep * float(rng.uniform(0, 1))
    return tissue


def _muscle(right: Field, shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """Brightness of the myocardium: the septum is brightest, the lateral wall often drops out."""
    lateral = ramp(right, 0.0, 0.35) * np.float32(rng.uniform(0.0, 0.28))
    patchy = 0.13 * noise(rng, shape, (9, 8)) + 0.07 * noise(rng, shape, (40, 18))
    septum = ramp(right, 0.05, -0.3) * np.float32(rng.uniform(0, 0.2))
    muscle: Field = _MUSCLE + patchy + septum - lateral
    return muscle


def _blood(shape: tuple[int, int], more: float, rng: np.random.Generator) -> Field:
    """Brightness of blood: dark, with clutter; ``more`` raises both."""
    blood: Field = _BLOOD + more + (0.05 + 0.3 * more) * noise(rng, shape, (6, 5))
    return blood


def _fill(level: Field, distance: Field, value: Field | np.float32) -> Field:
    """Set ``value`` where ``distance`` is negative; the border is as blurred as a pulse is long."""
    inside = ramp(distance, 0.02, -0.03)
    filled: Field = level + (value - level) * inside
    return filled


def _rim(
    level: Field,
    distance: Field,
    width: float,
    strength: float,
    clarity: float,
    rng: np.random.Generator,
) -> Field:
    """Add a bright interface along ``distance == 0``, with more gaps if the quality is poor."""
    interrupted = ramp(noise(rng, level.shape, (6, 6)), -0.6 - clarity, 1.2)
    rim = ridge(distance, 1 / width)
    rimmed: Field = level + strength * rim * interrupted
    return rimmed


def _right_heart(
    level: Field, heart: Heart, up: Field, right: Field, rng: np.random.Generator
) -> Field:
    """Add right ventricle and atrium beside the septum: as dark as the left, but never a target."""
    septum = -(heart.width / 2 + heart.wall)
    width = float(rng.uniform(0.3, 0.5))
    middle = septum - width / 2
    lateral = (right - middle) / (width / 2)
    ventricle = np.sqrt(lateral**2 + ((up - 0.28) / (0.62 * heart.length)) ** 2) - 1
    atrium = np.sqrt(lateral**2 + ((up + 0.28) / 0.26) ** 2) - 1
    level = _rim(level, width * ventricle, 0.03, 0.15, 0.5, rng)
    level = _fill(level, width * np.maximum(ventricle, 0.03 - up), np.float32(_BLOOD + 0.03))
    level = _fill(level, width * np.maximum(atrium, up + 0.03), np.float32(_BLOOD))
    bar = ridge(up, 50.0) * ramp(np.abs(lateral), 1.0, 0.7)
    closed: Field = level + 0.6 * _VALVE * bar
    return closed


def _papillary(
    level: Field,
    scene: EchoScene,
    up: Field,
    right: Field,
    cavity: Field,
    rng: np.random.Generator,
) -> Field:
    """Add papillary muscle and trabeculae: bright, but part of the cavity in the mask."""
    reach = float(rng.uniform(0.02, 0.07))
    side = float(rng.choice([-1.0, 1.0]))
    height = scene.heart.length * float(rng.uniform(0.35, 0.6))
    where = ridge(up - height, 6.0) * ramp(side * right, 0.0, 0.1)
    bulge = ramp(cavity, -2 * reach, 0.0) * ramp(cavity, 0.02, 0.0)
    specks = ramp(noise(rng, level.shape, (60, 34)), 1.9, 3.0) * ramp(cavity, 0.0, -0.04)
    low = ramp(up, 0.7 * scene.heart.length, 0.1)
    shown: Field = level + 0.28 * bulge * where + 0.35 * specks * low
    return shown


def _valve(scene: EchoScene, up: Field, right: Field, rng: np.random.Generator) -> Field:
    """Brightness of mitral ring and leaflets; these are closed in systole and open in diastole."""
    half = scene.heart.width / 2
    ring = ridge(np.abs(right) - half, 20.0) * ridge(up, 25.0)
    if scene.phase == "systole":
        sag = np.float32(0.05) * (1 - (right / half) ** 2)
        leaflets = ridge(up + sag, 50.0) * ramp(np.abs(right), half, 0.85 * half)
    else:
        opening = half * float(rng.uniform(0.35, 0.7))
        slant = np.abs(right) - half + (half - opening) * np.clip(up / 0.25, 0, 1)
        leaflets = ridge(slant, 40.0) * ramp(up, -0.02, 0.02) * ramp(up, 0.27, 0.2)
    brightness = np.float32(_VALVE * rng.uniform(0.5, 1.1))
    lit: Field = brightness * np.maximum(ring, leaflets)
    return lit
