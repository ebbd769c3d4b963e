"""Resolution-independent coordinates and smooth noise.

A noise field is a cubic B-spline over a small lattice of random numbers. The lattice does not
depend on the image size, so a phantom rendered at a larger size is the same phantom, only sharper.
Evaluating the spline takes two products with small matrices.
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
    """A square pixel grid that spans [-1, 1] along x (to the right) and y (downwards).

    Attributes:
        size: Side in pixels.
    """

    size: int

    @property
    def x(self) -> Field:
        """Horizontal coordinates of the pixel centres, (1, size)."""
        return _centres(self.size)[None, :]

    @property
    def y(self) -> Field:
        """Vertical coordinates of the pixel centres, (size, 1)."""
        return _centres(self.size)[:, None]

    @property
    def pixel(self) -> float:
        """Width of a pixel in these coordinates."""
        return 2 / self.size

    def noise(self, rng: np.random.Generator, cells: int, across: int | None = None) -> Field:
        """Smooth random field of mean 0 and standard deviation 1.

        Args:
            rng: Source of the lattice.
            cells: Lattice cells from top to bottom; features are about two cells long.
            across: Lattice cells from left to right; by default equal to ``cells``.

        Returns:
            The field, (size, size).
        """
        return noise(rng, (self.size, self.size), (cells, across or cells))


def noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> Field:
    """Smooth random field on a rectangle, like :meth:`Canvas.noise`.

    Args:
        rng: Source of the lattice.
        shape: Height and width of the field in pixels.
        cells: Lattice cells along both axes.

    Returns:
        The field, of shape ``shape``.
    """
    # A cubic spline of n cells has n + 3 coefficients.
    lattice = rng.standard_normal((cells[0] + 3, cells[1] + 3), dtype=np.float32)
    field: Field = _basis(shape[0], cells[0]) @ lattice @ _basis(shape[1], cells[1]).T
    field /= np.float32(_SPLINE_STD)
    return field


def ramp(field: Field, start: float, end: float) -> Field:
    """Smooth step: 0 up to ``start``, 1 from ``end``; with ``end < start`` it falls instead."""
    t = np.clip((field - np.float32(start)) * np.float32(1 / (end - start)), 0, 1)
    smooth: Field = t * t * (3 - 2 * t)
    return smooth


def ridge(field: Field, sharpness: float) -> Field:
    """Gaussian lines along the zero crossings of a field: 1 on a crossing, 0 away from it."""
    lines: Field = np.exp(-((field * np.float32(sharpness)) ** 2))
    return lines


def slopes(height: Field, canvas: Canvas) -> tuple[Field, Field]:
    """Partial derivatives of a height field, first downwards and then to the right."""
    down: Field = np.gradient(height, canvas.pixel, axis=0)
    right: Field = np.gradient(height, canvas.pixel, axis=1)
    return down, right


def colour(*channels: float) -> Colours:
    """A colour as an array (3, 1, 1) that broadcasts over the pixels."""
    return np.array(channels, np.float32)[:, None, None]


def blend(below: Colours, above: Colours, cover: Field) -> Colours:
    """Composite ``above`` over ``below`` with the opacity ``cover``, (h, w) in [0, 1]."""
    mixed: Colours = below + (above - below) * cover
    return mixed


def soften(picture: NDArray[np.float32], strength: float) -> NDArray[np.float32]:
    """Blur with a separable 3 x 3 filter.

    Args:
        picture: Channels of pixels, (..., h, w).
        strength: 0 changes nothing; 1 is the binomial 1-2-1 filter; larger values blur more.

    Returns:
        The blurred image. Rows and columns at the border are blurred along the border only.
    """
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
    """Uniform cubic B-spline basis, (points, cells + 3), at the pixel centres."""
    position = (np.arange(points) + 0.5) * (cells / points)
    first = np.minimum(position.astype(int), cells - 1)
    t = position - first
    # Only four of the splines differ from zero in a cell.
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    basis = np.zeros((points, cells + 3), dtype=np.float32)
    for offset, weight in enumerate(weights):
        basis[np.arange(points), first + offset] = weight / 6
    return basis
