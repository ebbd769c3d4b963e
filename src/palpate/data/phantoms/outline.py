"""Closed outlines: an ellipse whose radius wavers with the angle."""

import math
from dataclasses import dataclass

import numpy as np

from palpate.data.phantoms.canvas import Canvas, Field

_HARMONICS = 7  # up to this number of lobes; more would be a border no one draws by hand


@dataclass(frozen=True)
class Outline:
    """The curve ``level == 1``; lengths in half-sides of the image.

    Attributes:
        x: Of the centre, from -1 (left) to 1 (right).
        y: Of the centre, from -1 (top) to 1 (bottom).
        radius: Of the circle of the same area, before the waves.
        aspect: Long axis by short axis.
        angle: Of the long axis, in radians, from x towards y.
        waves: Relative amplitude of two, three, ... lobes, as complex numbers with their phase.
    """

    x: float
    y: float
    radius: float
    aspect: float = 1.0
    angle: float = 0.0
    waves: tuple[complex, ...] = ()

    def offsets(self, canvas: Canvas) -> tuple[Field, Field]:
        """Along the long and the short axis, in radii of these axes; (h, w) each."""
        dx, dy = canvas.x - np.float32(self.x), canvas.y - np.float32(self.y)
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        stretch = math.sqrt(self.aspect)
        long, short = self.radius * stretch, self.radius / stretch
        along = dx * np.float32(cosine / long) + dy * np.float32(sine / long)
        athwart = dy * np.float32(cosine / short) - dx * np.float32(sine / short)
        return along, athwart

    def level(self, canvas: Canvas) -> Field:
        """0 in the centre, 1 on the outline, growing linearly outwards."""
        along, athwart = self.offsets(canvas)
        distance = np.sqrt(along * along + athwart * athwart)
        if not self.waves:
            return distance
        spin = (along + 1j * athwart) / np.maximum(distance, np.float32(1e-4))
        turn, reach = spin, np.ones_like(distance)
        for wave in self.waves:
            turn = turn * spin
            reach = reach + (turn * np.complex64(wave)).real
        level: Field = distance / np.maximum(reach, np.float32(0.2))
        return level


def random_waves(rng: np.random.Generator, strength: float) -> tuple[complex, ...]:
    """Waves of random phase that get weaker with their number, as outlines of tissue do."""
    lobes = np.arange(2, _HARMONICS + 1)
    sizes = rng.standard_normal(len(lobes)) + 1j * rng.standard_normal(len(lobes))
    return tuple(complex(wave) for wave in strength * sizes / lobes)
