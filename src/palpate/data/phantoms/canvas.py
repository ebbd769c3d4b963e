"""Coordinates and smooth noise that mean the same at every image size.

A noise field is a cubic B-spline over a small lattice of random numbers. The lattice does not
depend on the size of the image, so a phantom drawn larger is the same phantom, only sharper; and
evaluating it is two products with small matrices.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.floating[Any]]  # one value per pixel, (height, width); float32
Region: TypeAlias = NDArray[np.bool_]  # (height, width)
Colours: TypeAlias = NDArray[np.floating[Any]]  # red, green, blue, (3, height, width); float32

# Standard deviation of a cubic B-spline surface with independent unit coefficients: the mean over
# a cell of the sum of squared basis functions is 151/315 along each axis.
_SPLINE_STD = 151 / 315


@dataclass(frozen=True)
class Canvas:
    """A square of pixels spanning [-1, 1] along x (to the right) and y (downwards)."""

    size: int

    @property
    def x(self) -> Field:
        """Horizontal coordinate, one row that broadcasts."""
        return _centres(self.size)[None, :]

    @property
    def y(self) -> Field:
        """Vertical coordinate, one column that broadcasts."""
        return _centres(self.size)[:, None]

    @property
    def pixel(self) -> float:
        """Width of a pixel."""
        return 2 / self.size

    def noise(self, rng: np.random.Generator, cells: int, across: int | None = None) -> Field:
        """A smooth random field of mean 0 and standard deviation 1.

        Args:
            rng: Source of the lattice.
            cells: Lattice cells from top to bottom; the grain is about two cells long.
            across: Lattice cells from left to right; by default as many.
        """
        return noise(rng, (self.size, self.size), (cells, across or cells))


def noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> Field:
    """The same for any rectangle, see :meth:`Canvas.noise`."""
    lattice = rng.standard_normal((cells[0] + 3, cells[1] + 3), dtype=np.float32)
    field: Field = _basis(shape[0], cells[0]) @ lattice @ _basis(shape[1], cells[1]).T
    field /= np.float32(_SPLINE_STD)
    return field


def ramp(field: Field, start: float, end: float) -> Field:
    """0 up to ``start``, 1 from ``end`` on, and smooth between; falls where ``end < start``."""
    t = np.clip((field - np.float32(start)) * np.float32(1 / (end - start)), 0, 1)
    smooth: Field = t * t * (3 - 2 * t)
    return smooth


def ridge(field: Field, sharpness: float) -> Field:
    """1 where a field changes its sign, falling off on both sides: thin lines, from noise a net."""
    lines: Field = np.exp(-((field * np.float32(sharpness)) ** 2))
    return lines


def slopes(height: Field, canvas: Canvas) -> tuple[Field, Field]:
    """How steeply a surface rises downwards and to the right."""
    down: Field = np.gradient(height, canvas.pixel, axis=0)
    right: Field = np.gradient(height, canvas.pixel, axis=1)
    return down, right


def colour(*channels: float) -> Colours:
    """One colour that broadcasts over the pixels, (3, 1, 1)."""
    return np.array(channels, np.float32)[:, None, None]


def blend(below: Colours, above: Colours, cover: Field) -> Colours:
    """Lay ``above`` over ``below`` with the opacity ``cover``."""
    mixed: Colours = below + (above - below) * cover
    return mixed


def soften(picture: NDArray[np.float32], strength: float) -> NDArray[np.float32]:
    """Blur over neighbouring pixels; ``strength`` 0 leaves it, 1 is the binomial 1-2-1 filter."""
    side, middle = np.float32(strength / 4), np.float32(1 - strength / 2)
    rows = picture.copy()
    rows[..., 1:-1, :] *= middle
    rows[..., 1:-1, :] += side * (picture[..., :-2, :] + picture[..., 2:, :])
    result = rows.copy()
    result[..., 1:-1] *= middle
    result[..., 1:-1] += side * (rows[..., :-2] + rows[..., 2:])
    return result


@lru_cache(maxsize=64)
def _centres(size: int) -> NDArray[np.float32]:
    return ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)


@lru_cache(maxsize=512)
def _basis(points: int, cells: int) -> NDArray[np.float32]:
    """Values of the uniform cubic B-splines of ``cells`` cells at ``points`` pixel centres."""
    position = (np.arange(points) + 0.5) * (cells / points)
    first = np.minimum(position.astype(int), cells - 1)
    t = position - first
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    basis = np.zeros((points, cells + 3), dtype=np.float32)
    for offset, weight in enumerate(weights):
        basis[np.arange(points), first + offset] = weight / 6
    return basis
