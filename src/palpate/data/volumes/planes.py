"""Slices of a volume along an anatomical plane, in radiological orientation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from palpate.data.volumes.volume import Volume
from palpate.errors import did_you_mean

ACQUIRED = "acquired"

# Axes of the patient (0 right, 1 front, 2 head): across slices, down the rows, along the columns.
# The patient's right is on the left, the front or the head on top; a side view looks left.
_PLANES = {"sagittal": (0, 2, 1), "coronal": (1, 2, 0), "axial": (2, 1, 0)}
_NAMES = tuple(_PLANES)
_STORED = ("0", "1", "2")
AXES = (ACQUIRED, *_PLANES, *_STORED)


def check_axis(axis: str) -> None:
    """Raise an error for an unknown axis.

    Raises:
        ValueError: If there is no such axis.
    """
    if axis not in AXES:
        raise ValueError(
            f"Expected an axis among {', '.join(AXES)}, got {axis!r}.{did_you_mean(axis, AXES)}"
        )


def slices(volume: Volume, axis: str, values: NDArray[Any] | None = None) -> NDArray[Any]:
    """All slices of a volume across one axis: (slices, rows, columns), colour last.

    Args:
        volume: Gives the orientation of the voxels.
        axis: ``axial``, ``coronal`` or ``sagittal``: turned as they are displayed, from foot to
            head, back to front, left to right. ``acquired``: whichever of these lies across the
            thickest voxels, or axial where they are cubes. ``0``, ``1`` or ``2``: across this
            axis of the file, and not turned.
        values: Slice this array of the same shape instead of the voxels.

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
    # Slices run towards the right, the front and the head; rows and columns the other way.
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
    """The axis with the largest spacing (across the slices), if there is one."""
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
    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    patient, stored = linear_sum_assignment(-np.abs(cosines))
    increases = [False] * 3
    for row, column in zip(patient, stored, strict=True):
        increases[column] = bool(cosines[row, column] > 0)
    return [int(column) for column in stored], increases
