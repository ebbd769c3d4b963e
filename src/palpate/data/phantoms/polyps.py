"""Rendering of polyps on the bowel wall."""

import numpy as np

from palpate.data.phantoms.bowel import BLOOD, Tissue
from palpate.data.phantoms.canvas import Canvas, Colours, Field, blend, colour, ramp, ridge, slopes
from palpate.data.phantoms.endoscopy import Polyp


def add_polyp(tissue: Tissue, polyp: Polyp, canvas: Canvas, rng: np.random.Generator) -> None:
    """Add a polyp to the tissue, in place: a dome that is lit brightly and casts a shadow.

    Args:
        tissue: Changed under the polyp and in its shadow.
        polyp: The polyp.
        canvas: Pixel grid of the tissue.
        rng: Source of light direction and texture.
    """
    level = polyp.outline.level(canvas)
    side = _one_side(polyp, level, canvas, rng)
    cover = _cover(level, side, polyp, canvas)
    shadow = np.clip(0.30 + 0.35 * side, 0, 0.7) * polyp.height * ramp(level, 1.5, 1.0)
    tissue.light *= 1 - shadow * (1 - cover)
    _raise(tissue, polyp, level, cover, canvas, rng)
    tissue.albedo = blend(tissue.albedo, _albedo(polyp, canvas, rng), cover)
    tissue.gloss += cover * (0.5 - tissue.gloss + 0.5 * ramp(level, 0.7, 0.1))


def _one_side(polyp: Polyp, level: Field, canvas: Canvas, rng: np.random.Generator) -> Field:
    """Position across a polyp, (h, w): about -1 towards the lamp and 1 away from it."""
    along, athwart = polyp.outline.offsets(canvas)
    turn = float(rng.uniform(0, 2 * np.pi))
    side: Field = (along * float(np.cos(turn)) + athwart * float(np.sin(turn))) / (level + 0.1)
    return side


def _cover(level: Field, side: Field, polyp: Polyp, canvas: Canvas) -> Field:
    """Opacity of a polyp: a sharp border at its shadow; flat polyps fade out on the other side."""
    # At least a pixel wide, for an antialiased border.
    pixel = canvas.pixel / polyp.outline.radius
    fade = pixel + (1 - polyp.height) * np.clip(0.10 - 0.15 * side, 0, 0.25)
    cover: Field = np.clip(0.5 + (1 - level) / (2 * fade), 0, 1)
    return cover


def _raise(
    tissue: Tissue,
    polyp: Polyp,
    level: Field,
    cover: Field,
    canvas: Canvas,
    rng: np.random.Generator,
) -> None:
    """Replace slopes and light of the wall by those of the dome, in place."""
    inner = np.minimum(level, 1)
    dx, dy = canvas.x - polyp.outline.x, canvas.y - polyp.outline.y
    steep = polyp.height * 2.0 * inner**2 / (np.sqrt(dx * dx + dy * dy) + np.float32(1e-3))
    lumps = polyp.outline.radius * (
        0.05 * canvas.noise(rng, _cells(polyp, 1.5)) + 0.012 * canvas.noise(rng, _cells(polyp, 5.0))
    )
    lumps_y, lumps_x = slopes(lumps, canvas)
    tissue.slope_x += cover * (lumps_x - steep * dx - tissue.slope_x)
    tissue.slope_y += cover * (lumps_y - steep * dy - tissue.slope_y)
    # Brightness relative to the wall behind it, within limits that keep the polyp visible.
    around = float((tissue.light * cover).sum() / (cover.sum() + 1))
    own = float(np.clip(around * rng.uniform(1.1, 1.7), 0.65, 1.4))
    dome = own * (1 + 0.3 * polyp.height * (1 - inner * inner))
    tissue.light += cover * (0.8 * dome - 0.8 * tissue.light)


def _albedo(polyp: Polyp, canvas: Canvas, rng: np.random.Generator) -> Colours:
    """Albedo of a polyp, (3, h, w): mottled, with its own pits or fine vessels."""
    mottle = 0.08 * canvas.noise(rng, _cells(polyp, 1.5)) + 0.08 * canvas.noise(rng, 55)
    pits = ridge(canvas.noise(rng, _cells(polyp, 6.0)), 4.0)
    absorbed = BLOOD * (mottle + pits * float(rng.uniform(0, 0.3)))
    painted: Colours = colour(*polyp.albedo) * np.exp(-absorbed)
    return painted


def _cells(polyp: Polyp, per_radius: float) -> int:
    """Number of lattice cells for noise whose scale is proportional to the polyp."""
    return int(np.clip(2 * per_radius / polyp.outline.radius, 3, 60))
