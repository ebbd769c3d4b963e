"""Labels of segmentations: whole numbers of one map, or one channel for each structure."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Scaling by a header turns 1 into 1.000015, and 2035 into 2035.03.
_ROUNDING, _RELATIVE = 1e-3, 2e-5


class Channels(NamedTuple):
    """The channels of a segmentation.

    Attributes:
        masks: Masks (i, j, k) of the channels with foreground, by label.
        background: Whether the first channel is the background, as in one-hot masks.
    """

    masks: dict[int, NDArray[np.bool_]]
    background: bool


def whole_labels(
    values: NDArray[Any], name: str, *, nan_is_background: bool = False
) -> NDArray[np.integer]:
    """Labels as whole numbers; values within 1e-3, or 2e-5 of the label, of these are rounded.

    >>> whole_labels(np.array([0.0, 1.000015]), "a.nii").tolist()
    [0, 1]

    Args:
        values: Values of a segmentation, of any shape and type.
        name: Name of the file, for errors.
        nan_is_background: Whether NaN and infinite values are label 0 instead of an error.

    Raises:
        ValueError: If other values are not whole, or some are negative.
    """
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind == "f":
        values = _rounded(_finite(values, name, nan_is_background), name)
    if values.size and values.min() < 0:
        raise ValueError(
            f"expected labels from 0 on in {name}, got {values.min()}; give each structure a label "
            "of its own above 0, and the background 0"
        )
    return values


def channels_of(labels: NDArray[np.integer], name: str) -> Channels:
    """Masks of a segmentation that has a channel for each structure.

    If every voxel is in exactly one channel, the first one is the background, and the channel with
    index n is label n (one-hot). Otherwise, structures may overlap, and it is label n + 1.

    Args:
        labels: Whole numbers (i, j, k, channels), 0 and one other value.
        name: Name of the file, for errors.

    Raises:
        ValueError: If there are several values besides 0.
    """
    values = [int(value) for value in np.unique(labels) if value != 0]
    if len(values) > 1:
        raise ValueError(
            f"expected 0 and 1 in the {labels.shape[-1]} channels of {name}, one for each "
            f"structure, got {', '.join(map(str, (0, *values[:6])))}; store one map of labels with "
            "three axes, or one volume for each point in time"
        )
    masks = labels != 0
    background = bool((masks.sum(axis=-1) == 1).all())
    first = 0 if background else 1
    found = {n + first: masks[..., n] for n in range(masks.shape[-1]) if n + first > 0}
    return Channels({n: mask for n, mask in found.items() if mask.any()}, background)


def _finite(values: NDArray[Any], name: str, nan_is_background: bool) -> NDArray[Any]:
    finite = np.isfinite(values)
    if finite.all():
        return values
    if not nan_is_background:
        raise ValueError(
            f"expected labels in {name}, got NaN or infinity in {(~finite).sum()} of "
            f"{values.size} voxels; if these are background, choose the option nan background"
        )
    return np.where(finite, values, 0)


def _rounded(values: NDArray[Any], name: str) -> NDArray[np.integer]:
    nearest = np.rint(values)
    between = np.abs(values - nearest) > np.maximum(_ROUNDING, _RELATIVE * np.abs(nearest))
    if between.any():
        some = ", ".join(f"{value:.4g}" for value in np.unique(values[between])[:3])
        share = f"{between.sum()} of {values.size} voxels"
        if values.min() >= 0 and values.max() <= 1:
            advice = "if it holds probabilities, threshold it, for example at 0.5"
        else:
            advice = "if it was resampled, do it again with nearest neighbours; else check the file"
        raise ValueError(
            f"expected whole labels in {name}, got values such as {some} in {share}; {advice}"
        )
    return np.asarray(nearest.astype(np.int64))
