"""Painting the bowel: a tube with folds, its vessels, and what lies on its wall."""

from dataclasses import dataclass

import numpy as np

from palpate.data.phantoms.canvas import Canvas, Colours, Field, blend, colour, ramp, ridge, slopes
from palpate.data.phantoms.endoscopy import EndoscopyScene

BLOOD = colour(0.30, 1.0, 0.9)  # how strongly vessels absorb red, green and blue

_STOOL = colour(0.64, 0.36, 0.07)


@dataclass
class Tissue:
    """What is seen at each pixel, before the camera.

    Attributes:
        albedo: Colour under even light, (3, h, w).
        light: How much light arrives, (h, w).
        slope_x: Rise towards the camera from left to right, (h, w).
        slope_y: The same downwards.
        gloss: How likely a reflection of the lamp is, (h, w).
    """

    albedo: Colours
    light: Field
    slope_x: Field
    slope_y: Field
    gloss: Field


def paint_wall(scene: EndoscopyScene, canvas: Canvas, rng: np.random.Generator) -> Tissue:
    """Wall of the bowel with folds and vessels."""
    distance = _distance_from_lumen(scene, canvas, rng)
    folds = _folds(distance, canvas, rng)
    # Inverse square law for a tube whose depth is one over the distance from its vanishing point.
    reach = np.float32(rng.uniform(0.28, 0.65))
    light = 1 / (1 + (reach / distance) ** 2)
    near = ramp(distance, 0.7, 1.9) * np.float32(rng.uniform(0, 1.2))  # walls beside the lens
    slope_y, slope_x = slopes(_bumps(canvas, rng), canvas)
    albedo = _mucosa(scene, canvas, rng, ramp(light, 0.3, 0.7))
    albedo *= 1 - colour(0.0, 0.16, 0.2) * (1 - light * folds)  # light gets redder in the depth
    gloss = ramp(light, 0.3, 0.9) * (0.2 + 0.8 * folds)
    return Tissue(albedo, (light + near) * folds, slope_x, slope_y, gloss)


def add_stool(tissue: Tissue, canvas: Canvas, rng: np.random.Generator) -> None:
    """Remains of stool and mucus, in a third of the scenes; they shine, too."""
    if rng.random() > 0.35:
        return
    field = canvas.noise(rng, 5) + 0.5 * canvas.noise(rng, 18) + 0.35 * canvas.noise(rng, 48)
    start = rng.uniform(1.3, 2.2)
    cover = ramp(field, start, start + 0.5) * np.float32(rng.uniform(0.6, 0.95))
    tissue.albedo = blend(tissue.albedo, _STOOL * (0.7 + 0.2 * field), cover)
    tissue.gloss += 0.5 * cover


def _distance_from_lumen(scene: EndoscopyScene, canvas: Canvas, rng: np.random.Generator) -> Field:
    dx = canvas.x - scene.lumen[0] + 0.14 * canvas.noise(rng, 3)
    dy = canvas.y - scene.lumen[1] + 0.14 * canvas.noise(rng, 3)
    stretch = float(np.exp(rng.uniform(-0.35, 0.35)))
    distance: Field = np.sqrt((dx * stretch) ** 2 + (dy / stretch) ** 2 + np.float32(0.01))
    return distance


def _folds(distance: Field, canvas: Canvas, rng: np.random.Generator) -> Field:
    """Brightness of haustral folds: crests bright, the wall behind each in its shadow."""
    spacing = rng.uniform(0.45, 0.95)
    turns = np.log(distance) / np.float32(spacing) + 0.3 * canvas.noise(rng, 3)
    phase = turns + 0.1 * canvas.noise(rng, 7) + np.float32(rng.random())
    phase -= np.floor(phase)  # 0 at a crest, towards 1 in front of the next one
    most = rng.uniform(0.2, 0.65)
    # Folds are crescents, not rings: each is deep on some sides only.
    depth = np.clip(most * (0.55 + 0.8 * canvas.noise(rng, 4)), 0, 0.85) * ramp(distance, 2.2, 0.7)
    crest = ramp(phase, 0.0, 0.06)  # rounded, not cut
    darkness = crest * (phase * phase - 0.25 * (1 - phase) ** 6) + (1 - crest)
    folds: Field = 1 - depth * darkness
    return folds


def _bumps(canvas: Canvas, rng: np.random.Generator) -> Field:
    """Height of the mucosa: broad bulges, which are no polyps for want of a border, and grain."""
    broad, middle, fine = rng.uniform(0.03, 0.11), rng.uniform(0, 0.02), rng.uniform(0.003, 0.008)
    height: Field = broad * canvas.noise(rng, 4) + middle * canvas.noise(rng, 11)
    height += fine * canvas.noise(rng, 36)
    return height


def _mucosa(
    scene: EndoscopyScene, canvas: Canvas, rng: np.random.Generator, near: Field
) -> Colours:
    patches = 0.07 * canvas.noise(rng, 3) + 0.05 * canvas.noise(rng, 12)
    grain = 0.07 * canvas.noise(rng, 70)
    yellow = 0.06 * canvas.noise(rng, 4)
    absorbed = (
        BLOOD * (patches + grain + _vessels(canvas, rng) * near) + colour(0.0, 0.0, 1.0) * yellow
    )
    mucosa: Colours = colour(*scene.mucosa) * np.exp(-absorbed)
    return mucosa


def _vessels(canvas: Canvas, rng: np.random.Generator) -> Field:
    """Thin lines along which a noise field changes its sign: some wide ones and a finer net."""
    wide = ridge(canvas.noise(rng, 7), 16.0) * ramp(canvas.noise(rng, 5), -0.3, 0.8)
    net = ridge(canvas.noise(rng, 20), 7.0) * ramp(canvas.noise(rng, 4), -0.4, 1.0)
    strength = rng.uniform(0, 0.55, 2).tolist()
    seen: Field = strength[0] * wide + strength[1] * net
    return seen
