"""Slices of a volume in an anatomical plane, in radiological orientation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from palpate.data.volumes.volume import Volume
from palpate.errors import did_you_mean

ACQUIRED = "acquired"

# Patient axis (0 to the right, 1 to the front, 2 to the head) of the slice, row and column index.
# The patient's right is on the left of an image, and the front or the head at the top; in a
# sagittal image the patient looks to the left.
_PLANES = {"sagittal": (0, 2, 1), "coronal": (1, 2, 0), "axial": (2, 1, 0)}
_NAMES = tuple(_PLANES)
_STORED = ("0", "1", "2")  # axes of the file
AXES = (ACQUIRED, *_PLANES, *_STORED)


def check_axis(axis: str) -> None:
    """Raise an error for an unknown axis.

    Raises:
        ValueError: If the axis is not in ``AXES``.
    """
    if axis not in AXES:
        raise ValueError(
            f"Expected an axis among {', '.join(AXES)}, got {axis!r}.{did_you_mean(axis, AXES)}"
        )


def slices(volume: Volume, axis: str, values: NDArray[Any] | None = None) -> NDArray[Any]:
    """Slice a volume along one axis.

    Args:
        volume: The volume, with the orientation of its voxels.
        axis: ``axial``, ``coronal`` or ``sagittal``: in display orientation, ordered from foot to
            head, back to front, left to right. ``acquired``: the one of these that is perpendicular
            to the axis with the largest spacing, or axial if voxels are about cubic. ``0``, ``1``
            or ``2``: along this axis of the file, as stored.
        values: Array of the same shape to slice instead of the voxels.

    Returns:
        All slices, (slices, rows, columns), with colour as a last axis if there is one.

    Raises:
        ValueError: If the axis is unknown, or the file has no orientation.
    """
    check_axis(axis)
    voxels = volume.voxels if values is None else values
    if axis == ACQUIRED:
        axis = _acquired(volume)
    if axis in _STORED:
        across = int(axis)
        columns, rows = (n for n in range(3) if n != across)
        return _ordered(voxels, (across, rows, columns))
    if volume.affine is None:
        raise ValueError(
            f"Expected an orientation in {volume.name}, which a slice called {axis} needs, got "
            f"none. Choose the axis {', '.join(_STORED)} of the file."
        )
    lies, increases = _directions(volume.affine)
    across, rows, columns = (lies[patient] for patient in _PLANES[axis])
    turned = _ordered(voxels, (across, rows, columns))
    # Slices run towards the right, the front and the head; rows and columns run the opposite way.
    wrong = [n for n, at in enumerate((across, rows, columns)) if increases[at] == (n > 0)]
    return np.asarray(np.flip(turned, tuple(wrong)))


def _ordered(voxels: NDArray[Any], axes: tuple[int, int, int]) -> NDArray[Any]:
    return voxels.transpose(*axes, *range(3, voxels.ndim))


def _acquired(volume: Volume) -> str:
    across = _thick(volume)
    if volume.affine is None:
        return str(2 if across is None else across)
    if across is None:
        return "axial"
    lies, _ = _directions(volume.affine)
    return _NAMES[lies.index(across)]


def _thick(volume: Volume) -> int | None:
    """The axis across the acquired slices: the one with clearly the largest spacing, or None."""
    flat = [n for n, length in enumerate(volume.shape) if length == 1]
    if len(flat) == 1:
        return flat[0]
    if volume.spacing is None:
        return None
    thickest = int(np.argmax(volume.spacing))
    others = max(s for n, s in enumerate(volume.spacing) if n != thickest)
    return thickest if volume.spacing[thickest] > 1.2 * others else None


def _directions(affine: NDArray[np.float64]) -> tuple[list[int], list[bool]]:
    """The stored axis along each patient axis, and whether each stored axis increases with it."""
    # An assignment and not the largest cosine of each axis, which oblique volumes may share.
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    patient, stored = linear_sum_assignment(-np.abs(cosines))
    increases = [False] * 3
    for row, column in zip(patient, stored, strict=True):
        increases[column] = bool(cosines[row, column] > 0)
    return [int(column) for column in stored], increases
