"""How bright the tissues of the chest are in an apical view, before beams and speckle."""

import numpy as np

from palpate.data.phantoms.canvas import Field, noise, ramp, ridge
from palpate.data.phantoms.echo import EchoScene, Heart

_BLOOD, _MUSCLE, _TISSUE = 0.16, 0.49, 0.34  # in the compressed picture
_VALVE, _PERICARDIUM = 0.42, 0.30  # above what surrounds them


def echogenicity(
    scene: EchoScene, x: Field, y: Field, clarity: float, rng: np.random.Generator
) -> Field:
    """Brightness of what is at each point of the beams, about 0 to 1."""
    up, right = scene.heart.axes(x, y)
    wobble = 0.014 * noise(rng, x.shape, (22, 16))  # the real border is not as smooth as a drawing
    cavity = scene.heart.ventricle(up, right) + wobble
    muscle = scene.heart.muscle(up, right) + wobble
    atrium = scene.heart.atrium(up, right) + wobble
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
    """Lung, liver and fat: streaks along and across the beams."""
    broad = 0.12 * noise(rng, shape, (8, 6)) + 0.07 * noise(rng, shape, (40, 10))
    deep = np.linspace(-0.05, 0.22, shape[0], dtype=np.float32)[:, None]
    tissue: Field = _TISSUE + broad + deep * float(rng.uniform(0, 1))
    return tissue


def _muscle(right: Field, shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """The septum faces the beams best; the lateral wall often drops out."""
    lateral = ramp(right, 0.0, 0.35) * np.float32(rng.uniform(0.0, 0.28))
    patchy = 0.13 * noise(rng, shape, (9, 8)) + 0.07 * noise(rng, shape, (40, 18))
    septum = ramp(right, 0.05, -0.3) * np.float32(rng.uniform(0, 0.2))
    muscle: Field = _MUSCLE + patchy + septum - lateral
    return muscle


def _blood(shape: tuple[int, int], more: float, rng: np.random.Generator) -> Field:
    """Dark, with clutter that drifts into it."""
    blood: Field = _BLOOD + more + (0.05 + 0.3 * more) * noise(rng, shape, (6, 5))
    return blood


def _fill(level: Field, distance: Field, value: Field | np.float32) -> Field:
    """Put ``value`` where ``distance`` is negative, with a border as wide as a pulse."""
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
    """A bright interface, interrupted where it runs along the beams or the picture is poor."""
    interrupted = ramp(noise(rng, level.shape, (6, 6)), -0.6 - clarity, 1.2)
    rim = ridge(distance, 1 / width)
    rimmed: Field = level + strength * rim * interrupted
    return rimmed


def _right_heart(
    level: Field, heart: Heart, up: Field, right: Field, rng: np.random.Generator
) -> Field:
    """Right ventricle and atrium beside the septum: dark like the left, but not asked for."""
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
    """Papillary muscle and trabeculae: bright, inside the cavity, and counted as cavity."""
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
    """Mitral leaflets, closed in systole and open into the ventricle in diastole, and ring."""
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
