"""Closed outlines: ellipses whose radius varies with the angle."""

import math
from dataclasses import dataclass

import numpy as np

from palpate.data.phantoms.canvas import Canvas, Field

_HARMONICS = 7  # largest number of lobes; annotators do not draw finer borders by hand


@dataclass(frozen=True)
class Outline:
    """A closed curve, where ``level`` is 1; lengths in half-sides of the image.

    Attributes:
        x: Horizontal coordinate of the centre, from -1 (left) to 1 (right).
        y: Vertical coordinate of the centre, from -1 (top) to 1 (bottom).
        radius: Radius of the circle that has the area of the ellipse.
        aspect: Ratio of the long to the short axis.
        angle: Angle of the long axis in radians, from x towards y.
        waves: Fourier coefficients of the relative radius from the second harmonic (two lobes)
            on, as complex amplitudes.
    """

    x: float
    y: float
    radius: float
    aspect: float = 1.0
    angle: float = 0.0
    waves: tuple[complex, ...] = ()

    def offsets(self, canvas: Canvas) -> tuple[Field, Field]:
        """Coordinates along the long and the short axis, in semi-axes; (h, w) each."""
        dx, dy = canvas.x - np.float32(self.x), canvas.y - np.float32(self.y)
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        stretch = math.sqrt(self.aspect)
        # The square root on either axis keeps the area independent of the aspect.
        long, short = self.radius * stretch, self.radius / stretch
        along = dx * np.float32(cosine / long) + dy * np.float32(sine / long)
        athwart = dy * np.float32(cosine / short) - dx * np.float32(sine / short)
        return along, athwart

    def level(self, canvas: Canvas) -> Field:
        """Distance from the centre relative to the outline, (h, w): 0 in the centre, 1 on it."""
        along, athwart = self.offsets(canvas)
        distance = np.sqrt(along * along + athwart * athwart)
        if not self.waves:
            return distance
        # Powers of the unit complex number give all harmonics without trigonometric functions.
        spin = (along + 1j * athwart) / np.maximum(distance, np.float32(1e-4))
        turn, reach = spin, np.ones_like(distance)
        for wave in self.waves:
            turn = turn * spin
            reach = reach + (turn * np.complex64(wave)).real
        # The lower bound keeps strong waves from pinching the outline in two.
        level: Field = distance / np.maximum(reach, np.float32(0.2))
        return level


def random_waves(rng: np.random.Generator, strength: float) -> tuple[complex, ...]:
    """Sample waves whose amplitude falls with the number of lobes, as in outlines of tissue.

    Args:
        rng: Source of amplitudes and phases.
        strength: Standard deviation of the real and imaginary part of a single lobe; a wave of n
            lobes has an n-th of it.

    Returns:
        Complex amplitudes of two to seven lobes, for :attr:`Outline.waves`.
    """
    lobes = np.arange(2, _HARMONICS + 1)
    sizes = rng.standard_normal(len(lobes)) + 1j * rng.standard_normal(len(lobes))
    return tuple(complex(wave) for wave in strength * sizes / lobes)
