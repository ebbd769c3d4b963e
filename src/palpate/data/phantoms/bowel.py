"""Rendering of the bowel wall: a tube with folds, vessels and stool."""

from dataclasses import dataclass

import numpy as np

from palpate.data.phantoms.canvas import Canvas, Colours, Field, blend, colour, ramp, ridge, slopes
from palpate.data.phantoms.endoscopy import EndoscopyScene

BLOOD = colour(0.30, 1.0, 0.9)  # how strongly vessels absorb red, green and blue

_STOOL = colour(0.64, 0.36, 0.07)


@dataclass
class Tissue:
    """Optical properties of the tissue at each pixel, before lamp and camera.

    Attributes:
        albedo: Red, green and blue reflectance, (3, h, w).
        light: Amount of incident light, (h, w).
        slope_x: Slope of the surface towards the camera, from left to right, (h, w).
        slope_y: The same from top to bottom, (h, w).
        gloss: Tendency to reflect the lamp as a specular highlight, (h, w); larger is glossier.
    """

    albedo: Colours
    light: Field
    slope_x: Field
    slope_y: Field
    gloss: Field


def paint_wall(scene: EndoscopyScene, canvas: Canvas, rng: np.random.Generator) -> Tissue:
    """Render the bowel wall with folds and vessels.

    Args:
        scene: Gives the colour of the mucosa and the position of the lumen.
        canvas: Pixel grid to render on.
        rng: Source of the texture.

    Returns:
        The tissue without polyps and stool.
    """
    distance = _distance_from_lumen(scene, canvas, rng)
    folds = _folds(distance, canvas, rng)
    # Inverse square law for a tube whose depth is one over the distance from its vanishing point.
    reach = np.float32(rng.uniform(0.28, 0.65))
    light = 1 / (1 + (reach / distance) ** 2)
    near = ramp(distance, 0.7, 1.9) * np.float32(rng.uniform(0, 1.2))  # wall close to the lens
    slope_y, slope_x = slopes(_bumps(canvas, rng), canvas)
    albedo = _mucosa(scene, canvas, rng, ramp(light, 0.3, 0.7))
    albedo *= 1 - colour(0.0, 0.16, 0.2) * (1 - light * folds)  # deep tissue looks redder
    gloss = ramp(light, 0.3, 0.9) * (0.2 + 0.8 * folds)
    return Tissue(albedo, (light + near) * folds, slope_x, slope_y, gloss)


def add_stool(tissue: Tissue, canvas: Canvas, rng: np.random.Generator) -> None:
    """Add glossy remains of stool and mucus to about a third of the scenes, in place."""
    if rng.random() > 0.35:
        return
    field = canvas.noise(rng, 5) + 0.5 * canvas.noise(rng, 18) + 0.35 * canvas.noise(rng, 48)
    start = rng.uniform(1.3, 2.2)
    cover = ramp(field, start, start + 0.5) * np.float32(rng.uniform(0.6, 0.95))
    tissue.albedo = blend(tissue.albedo, _STOOL * (0.7 + 0.2 * field), cover)
    tissue.gloss += 0.5 * cover


def _distance_from_lumen(scene: EndoscopyScene, canvas: Canvas, rng: np.random.Generator) -> Field:
    """Distance of each pixel from the lumen, which is distorted and stretched at random."""
    dx = canvas.x - scene.lumen[0] + 0.14 * canvas.noise(rng, 3)
    dy = canvas.y - scene.lumen[1] + 0.14 * canvas.noise(rng, 3)
    stretch = float(np.exp(rng.uniform(-0.35, 0.35)))
    # The constant keeps the distance above 0: callers divide by it and take its logarithm.
    distance: Field = np.sqrt((dx * stretch) ** 2 + (dy / stretch) ** 2 + np.float32(0.01))
    return distance


def _folds(distance: Field, canvas: Canvas, rng: np.random.Generator) -> Field:
    """Brightness of haustral folds: bright crests, each shading the wall behind it."""
    spacing = rng.uniform(0.45, 0.95)
    # Logarithmic, since equal spacing along the tube looks denser towards the lumen.
    turns = np.log(distance) / np.float32(spacing) + 0.3 * canvas.noise(rng, 3)
    phase = turns + 0.1 * canvas.noise(rng, 7) + np.float32(rng.random())
    phase -= np.floor(phase)  # 0 at a crest, rising to 1 just before the next
    most = rng.uniform(0.2, 0.65)
    # Folds are crescents, not full rings: the noise makes each one deep on some sides only.
    depth = np.clip(most * (0.55 + 0.8 * canvas.noise(rng, 4)), 0, 0.85) * ramp(distance, 2.2, 0.7)
    crest = ramp(phase, 0.0, 0.06)  # avoids a hard edge where the phase wraps around
    darkness = crest * (phase * phase - 0.25 * (1 - phase) ** 6) + (1 - crest)
    folds: Field = 1 - depth * darkness
    return folds


def _bumps(canvas: Canvas, rng: np.random.Generator) -> Field:
    """Height of the mucosa: fine grain and broad bulges without the border of a polyp."""
    broad, middle, fine = rng.uniform(0.03, 0.11), rng.uniform(0, 0.02), rng.uniform(0.003, 0.008)
    height: Field = broad * canvas.noise(rng, 4) + middle * canvas.noise(rng, 11)
    height += fine * canvas.noise(rng, 36)
    return height


def _mucosa(
    scene: EndoscopyScene, canvas: Canvas, rng: np.random.Generator, near: Field
) -> Colours:
    """Albedo of the mucosa, (3, h, w); ``near`` is 0 where vessels are too far away to be seen."""
    patches = 0.07 * canvas.noise(rng, 3) + 0.05 * canvas.noise(rng, 12)
    grain = 0.07 * canvas.noise(rng, 70)
    yellow = 0.06 * canvas.noise(rng, 4)
    absorbed = (
        BLOOD * (patches + grain + _vessels(canvas, rng) * near) + colour(0.0, 0.0, 1.0) * yellow
    )
    # Beer-Lambert law: absorptions add up, so that colours stay positive.
    mucosa: Colours = colour(*scene.mucosa) * np.exp(-absorbed)
    return mucosa


def _vessels(canvas: Canvas, rng: np.random.Generator) -> Field:
    """Absorption by vessels: zero crossings of noise fields, some wide and a finer net."""
    wide = ridge(canvas.noise(rng, 7), 16.0) * ramp(canvas.noise(rng, 5), -0.3, 0.8)
    net = ridge(canvas.noise(rng, 20), 7.0) * ramp(canvas.noise(rng, 4), -0.4, 1.0)
    strength = rng.uniform(0, 0.55, 2).tolist()
    seen: Field = strength[0] * wide + strength[1] * net
    return seen
