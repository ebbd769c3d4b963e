"""DICOM segmentations (SEG), which store one frame per slice and segment."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from palpate.data.volumes.decoding import decoded_pixels
from palpate.data.volumes.dicom import read_dataset
from palpate.data.volumes.volume import Volume

# SOP class UIDs.
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_TOLERANCE = 0.1  # voxels


def read_seg(data: bytes, name: str, image: Volume) -> dict[str, NDArray[np.bool_]]:
    """Read the masks of a DICOM segmentation on the voxel grid of its image.

    A fractional segmentation is thresholded at half of its maximum.

    Args:
        data: The bytes of the file.
        name: Name of the file, for errors.
        image: The segmented volume; must have an affine.

    Returns:
        Masks of the shape of the image, by segment label; they may overlap.

    Raises:
        ValueError: If the file cannot be read or its frames are not in slices of the image.
        RuntimeError: If pydicom is not installed.
    """
    dataset = read_dataset(data, name)
    if image.affine is None:
        raise ValueError(
            f"Expected positions in the image of {name}, which are how a DICOM segmentation finds "
            "its slices, got none. Export the segmentation as a NIfTI on the grid of the image."
        )
    try:
        frames = np.atleast_3d(decoded_pixels(dataset, name))
        if int(dataset.get("NumberOfFrames") or 1) == 1:
            frames = frames.reshape(1, int(dataset.Rows), int(dataset.Columns))
        labels = {int(s.SegmentNumber): str(s.SegmentLabel) for s in dataset.SegmentSequence}
        half = int(dataset.get("MaximumFractionalValue") or 1) / 2
        groups = list(dataset.PerFrameFunctionalGroupsSequence)
        shared = dataset.get("SharedFunctionalGroupsSequence") or [dataset]
        found = [(_segment(g), _affine(g, shared[0])) for g in groups]
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(
            f"Expected a complete DICOM segmentation in {name}, but: {error}. Export it again."
        ) from error
    masks = {label: np.zeros(image.shape, dtype=bool) for label in labels.values()}
    # Frames are placed by position: they may be in any order, and empty ones are often omitted.
    for values, (segment, affine) in zip(frames, found, strict=True):
        k = _slice(affine, image, values.shape, name)
        masks[labels[segment]][:, :, k] |= (values >= half).T
    return masks


def _segment(group: Any) -> int:
    return int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _affine(group: Any, shared: Any) -> NDArray[np.float64]:
    """Affine matrix of a frame, from column, row and slice to RAS millimetres."""
    turn = _numbers(group, shared, "PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = _numbers(group, shared, "PixelMeasuresSequence", "PixelSpacing")
    position = _numbers(group, shared, "PlanePositionSequence", "ImagePositionPatient")
    affine = np.eye(4)
    columns = [turn[:3] * spacing[1], turn[3:] * spacing[0], np.cross(turn[:3], turn[3:])]
    affine[:3, :3] = _LPS_TO_RAS @ np.stack(columns, axis=1)
    affine[:3, 3] = _LPS_TO_RAS @ position
    return affine


def _numbers(group: Any, shared: Any, sequence: str, field: str) -> NDArray[np.float64]:
    items = group.get(sequence) or shared.get(sequence)
    if not items:
        raise KeyError(sequence)
    return np.array([float(value) for value in items[0].get(field)])


def _slice(affine: NDArray[np.float64], image: Volume, shape: tuple[int, ...], name: str) -> int:
    """Index of the slice of the image that contains a frame."""
    assert image.affine is not None
    # The geometry of the frame in voxel coordinates of the image.
    inside = np.linalg.solve(image.affine, affine)
    i, j, k = inside[:3, 3]
    in_plane = np.abs(inside[:3, :2] - np.eye(3)[:, :2]).max() < _TOLERANCE / max(shape)
    at_corner = max(abs(i), abs(j), abs(k - round(k))) < _TOLERANCE
    fits = shape == (image.shape[1], image.shape[0]) and 0 <= round(k) < image.shape[2]
    if not (in_plane and at_corner and fits):
        raise ValueError(
            f"Expected the frames of {name} in the slices of {image.name}, got one of {shape} "
            f"(rows, columns) that begins at ({i:.1f}, {j:.1f}, {k:.1f}) voxels. Give the series "
            "that was segmented."
        )
    return int(np.rint(k))
