"""Volumes: voxels with their position in the patient."""

from dataclasses import dataclass, replace
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
            (i varies fastest in the file). A fourth axis has the channels or points in time, or the
            colours red, green and blue in 8 bits.
        affine: Matrix 4 x 4 from (i, j, k, 1) to RAS millimetres (right, anterior, superior); None
            if the file has no orientation.
        window: Display window of the file, if it has one.
        inverted: Whether the largest value is black (MONOCHROME1).
        has_channels: Whether there is a fourth axis that is not colour.
    """

    name: str
    voxels: NDArray[Any]
    affine: NDArray[np.float64] | None = None
    window: Window | None = None
    inverted: bool = False
    has_channels: bool = False

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


def channel_of(volume: Volume, channel: int | None) -> Volume:
    """One channel or point in time of a volume.

    Args:
        volume: The volume.
        channel: Index of the channel, counted from 0; None for volumes without channels.

    Returns:
        The volume with three axes, or with colours if no channel is chosen.

    Raises:
        ValueError: If there are several channels and none is chosen, or there is no such channel.
    """
    if channel is None and not volume.has_channels:
        return volume
    count = volume.voxels.shape[3] if volume.voxels.ndim == 4 else 1
    if channel is None or channel >= count:
        got = "none is chosen" if channel is None else f"channel {channel} is chosen"
        raise ValueError(
            f"expected a channel or point in time among 0 to {count - 1} of {volume.name}, which "
            f"has {_times(volume.voxels.shape)} voxels, but {got}; choose one with the option "
            "channel, such as channel 0"
        )
    if volume.voxels.ndim == 3:
        return volume
    return replace(volume, voxels=volume.voxels[..., channel], has_channels=False)


def on_grid_of(segmentation: Volume, image: Volume, *, trust_shape: bool = False) -> NDArray[Any]:
    """Reorder the labels of a segmentation to the voxel grid of its image.

    A grid that differs only in the order or direction of its axes (as when a DICOM series was
    segmented in a NIfTI tool) is reordered; nothing is resampled. If neither file has an
    orientation, the shapes must be equal.

    Args:
        segmentation: The label volume; channels remain a fourth axis.
        image: The volume that was segmented.
        trust_shape: Whether to take the voxels in the order of the file, whatever its header says.

    Returns:
        The labels, in the shape of the image.

    Raises:
        ValueError: If the grids differ otherwise, or only one file has an orientation.
    """
    labels = segmentation.voxels
    if trust_shape:
        pass
    elif segmentation.affine is not None and image.affine is not None:
        labels = _turned(segmentation, segmentation.affine, image.affine, image.name)
    elif labels.shape[:3] == image.shape and not (segmentation.affine is image.affine is None):
        bare, other = (
            (segmentation, image) if segmentation.affine is None else (image, segmentation)
        )
        raise ValueError(
            f"Expected a position and orientation in the header of {bare.name}, as in that of "
            f"{other.name}, got none. Export it again with its header."
        )
    if labels.shape[:3] != image.shape:
        raise ValueError(
            f"Expected a segmentation of {_times(image.shape)} voxels in {segmentation.name}, as "
            f"its image {image.name} has, got {_times(labels.shape[:3])}. Export it on the grid of "
            "the image."
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
    labels = segmentation.voxels.transpose(*axes, *range(3, segmentation.voxels.ndim))
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
