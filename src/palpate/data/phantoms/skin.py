"""Rendering of skin and lesions by the absorption of light (Beer-Lambert law)."""

import numpy as np

from palpate.data.phantoms.canvas import Canvas, Colours, Field, colour, ramp, ridge
from palpate.data.phantoms.dermoscopy import DermoscopyScene, Lesion

# Absorption of red, green and blue.
_BLOOD = colour(0.10, 1.0, 0.75)
_MELANIN = colour(0.45, 1.0, 1.4)


def paint_skin(scene: DermoscopyScene, canvas: Canvas, rng: np.random.Generator) -> Colours:
    """Render skin and lesions under even light.

    Args:
        scene: Skin tone and lesions.
        canvas: Pixel grid to render on.
        rng: Source of the texture.

    Returns:
        Red, green and blue reflectance, (3, h, w).
    """
    absorbed = _plain_skin(canvas, rng)
    for lesion in scene.lesions:
        absorbed += colour(*lesion.pigment) * _density(lesion, canvas, rng)
        absorbed += _BLOOD * _halo(lesion, canvas, rng)
    painted: Colours = colour(*scene.skin) * np.exp(-absorbed)
    return painted


def _plain_skin(canvas: Canvas, rng: np.random.Generator) -> Colours:
    """Absorption of skin without lesions: blood, tan, furrows, fine vessels and freckles."""
    blotches = 0.03 * canvas.noise(rng, 3) + 0.02 * canvas.noise(rng, 14)
    cells = int(rng.uniform(26, 60))
    furrows = ridge(canvas.noise(rng, cells), 3.0) * float(rng.uniform(0, 0.05))
    vessels = ridge(canvas.noise(rng, 16), 12.0) * ramp(canvas.noise(rng, 6), 0.4, 1.6)
    start = rng.uniform(2.0, 4.5)
    freckles = ramp(canvas.noise(rng, 15), start, start + 1.5) * 0.6
    tan = 0.018 * canvas.noise(rng, 5) + 0.015 * canvas.noise(rng, 45) + freckles + furrows
    absorbed: Colours = _BLOOD * (blotches + vessels * float(rng.uniform(0, 0.3))) + _MELANIN * tan
    return absorbed


def _density(lesion: Lesion, canvas: Canvas, rng: np.random.Generator) -> Field:
    """Amount of pigment in a lesion relative to the typical one, (h, w)."""
    level = lesion.level(canvas)
    plateau = ramp(level, 1.08, 1.0 - lesion.softness)
    # Log-normal, so that the amount of pigment stays positive.
    blotches = np.exp(
        0.30 * canvas.noise(rng, lesion.cells(1.5)) + 0.22 * canvas.noise(rng, lesion.cells(5.0))
    )
    inner = np.minimum(level, 1) - 0.6
    centre = 1 + float(rng.uniform(-0.7, 0.45)) * inner  # darker or paler in the centre
    texture = _network(lesion, canvas, rng) + _globules(canvas, rng)
    density: Field = plateau * blotches * centre * (1 + texture)
    return density


def _network(lesion: Lesion, canvas: Canvas, rng: np.random.Generator) -> Field:
    """Pigment network: a mesh of dark lines that varies in strength over the lesion."""
    cells = int(rng.uniform(45, 75))
    one, other = (ridge(canvas.noise(rng, cells), 2.6) for _ in range(2))
    mesh = np.maximum(one, other) - 0.5  # holes are paler than the plateau
    where = ramp(canvas.noise(rng, lesion.cells(1.5)), -1.0, 1.0)
    return mesh * where * (1.1 * lesion.network)


def _globules(canvas: Canvas, rng: np.random.Generator) -> Field:
    """Globules: dark dots, in about half of the lesions."""
    strength = max(0.0, rng.uniform(-0.6, 0.8))
    return strength * ramp(canvas.noise(rng, 52), 1.3, 2.2)


def _halo(lesion: Lesion, canvas: Canvas, rng: np.random.Generator) -> Field:
    """Reddened skin around some lesions, which is not part of their masks."""
    strength = max(0.0, rng.uniform(-0.25, 0.22))
    return strength * ramp(lesion.outline.level(canvas), 1.9, 0.9)
