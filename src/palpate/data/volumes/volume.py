"""Volumes: voxels with their position in the patient."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palpate.data.volumes.windowing import Window

_GRID_TOLERANCE = 0.02  # of the direction and size of a voxel: rounding errors in headers
_OFFSET_TOLERANCE = 0.1  # voxels


@dataclass(frozen=True, eq=False)
class Volume:
    """A stack of slices; a single image is a stack of one.

    Attributes:
        name: Name of the file or series, for errors.
        voxels: Array (i, j, k), where i counts columns, j rows and k slices of the stored images
            (i varies fastest in the file). Colour images have a fourth axis of length 3 and 8 bits.
        affine: Matrix 4 x 4 from (i, j, k, 1) to RAS millimetres (right, anterior, superior); None
            if the file has no orientation.
        window: Display window of the file, if it has one.
        inverted: Whether the largest value is black (MONOCHROME1).
    """

    name: str
    voxels: NDArray[Any]
    affine: NDArray[np.float64] | None = None
    window: Window | None = None
    inverted: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along each spatial axis."""
        i, j, k = self.voxels.shape[:3]
        return i, j, k

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Voxel spacing along each axis in millimetres; None without an affine."""
        if self.affine is None:
            return None
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)


def on_grid_of(segmentation: Volume, image: Volume) -> NDArray[Any]:
    """Reorder the labels of a segmentation to the voxel grid of its image.

    A grid that differs only in the order or direction of its axes (as when a DICOM series was
    segmented in a NIfTI tool) is reordered; nothing is resampled. If a file has no orientation, the
    shapes must be equal.

    Args:
        segmentation: The label volume.
        image: The volume that was segmented.

    Returns:
        The labels, in the shape of the image.

    Raises:
        ValueError: If the grids differ otherwise.
    """
    labels = segmentation.voxels
    if segmentation.affine is not None and image.affine is not None:
        labels = _turned(segmentation, segmentation.affine, image.affine, image.name)
    if labels.shape != image.shape:
        raise ValueError(
            f"Expected a segmentation of {_times(image.shape)} voxels in {segmentation.name}, as "
            f"its image {image.name} has, got {_times(labels.shape)}. Export it on the grid of the "
            "image."
        )
    return labels


def _turned(
    segmentation: Volume, own: NDArray[np.float64], wanted: NDArray[np.float64], image: str
) -> NDArray[Any]:
    """Labels with axes permuted and flipped to match the affine ``wanted``."""
    step = _between(own, wanted, segmentation.name)
    # Equal grids are related by a signed permutation matrix.
    turn = np.rint(step[:3, :3])
    is_turn = (np.abs(turn).sum(axis=0) == 1).all() and (np.abs(turn).sum(axis=1) == 1).all()
    if not is_turn or np.abs(step[:3, :3] - turn).max() > _GRID_TOLERANCE:
        raise ValueError(
            f"Expected {segmentation.name} on the grid of its image {image}, but its voxels are of "
            "another size or lie at an angle to it. Resample it onto the image, with nearest "
            "neighbours."
        )
    axes = [int(np.flatnonzero(row)[0]) for row in turn]
    labels = segmentation.voxels.transpose(axes)
    backwards = [axis for axis in range(3) if turn[axis, axes[axis]] < 0]
    start = [labels.shape[axis] - 1.0 if axis in backwards else 0.0 for axis in range(3)]
    off = np.abs(step[:3, 3] - start).max()
    if off > _OFFSET_TOLERANCE:
        raise ValueError(
            f"Expected {segmentation.name} on the grid of its image {image}, but it lies up to "
            f"{off:.1f} voxels beside it. Export it again for this image, or correct its header."
        )
    return np.asarray(np.flip(labels, tuple(backwards)))


def _between(
    own: NDArray[np.float64], wanted: NDArray[np.float64], name: str
) -> NDArray[np.float64]:
    """Affine from voxel indices of a segmentation to those of its image."""
    try:
        return np.asarray(np.linalg.solve(wanted, own), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            f"Expected a position and orientation in the header of the image of {name}, got a "
            "matrix that cannot be inverted. Correct that header."
        ) from error


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
