"""Boundary metrics: 95th percentile of the Hausdorff distance and normalised surface Dice.

Both equal MONAI's metrics, whose distances they use. An edge pixel is a foreground pixel with a
background pixel (or the outside of the image) above, below, left or right of it.

Ignored pixels are background in prediction and mask: both outlines are cut at their edge, and
follow it together where both reach it.

Empty masks: if both are empty, HD95 = 0 and NSD = 1. If exactly one is empty, NSD = 0 and HD95 is
the diagonal of the image, the upper bound of all distances in it.
"""

from math import hypot, isfinite
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from torch import Tensor

from palpate.overlap import require_pairs
from palpate.types import Masks, PerImage

Spacing: TypeAlias = tuple[float, float]  # height and width of a pixel, for example in mm


class SurfaceDistances(NamedTuple):
    """Distances between the outlines of one image's prediction and mask.

    Attributes:
        there: Distance from each edge pixel of the prediction to the outline of the mask.
        back: Distance from each edge pixel of the mask to the outline of the prediction.
        diagonal: Diagonal of the image, in the same unit.
        empty: How many of prediction and mask are empty, 0 to 2; unless 0, there are no distances.
    """

    there: NDArray[np.float32]
    back: NDArray[np.float32]
    diagonal: float
    empty: int


def surface_distances(
    predictions: Masks, masks: Masks, spacing: Spacing | None = None
) -> list[SurfaceDistances]:
    """Compute the distances between outlines for each image, from which HD95 and NSD follow.

    Args:
        predictions: Bool, shape ``(b, 1, h, w)``, on any device; the CPU does the work.
        masks: Ground truth, same shape.
        spacing: Height and width of a pixel, the same for all images; None: distances in pixels.

    Raises:
        ValueError: If the spacing is not positive, or predictions and masks differ in shape.
    """
    require_pairs(predictions, masks)
    if spacing is not None and not all(isfinite(side) and side > 0 for side in spacing):
        raise ValueError(f"Expected a spacing (height, width) above 0, got {spacing}.")
    pairs = zip(_as_arrays(predictions), _as_arrays(masks), strict=True)
    return [_measured(prediction, mask, spacing) for prediction, mask in pairs]


def hd95(surface_distances: list[SurfaceDistances]) -> PerImage:
    """The larger of the 95th percentiles of both directed distances, interpolated linearly."""
    return torch.tensor([_farthest(each) for each in surface_distances], dtype=torch.float32)


def nsd(surface_distances: list[SurfaceDistances], tolerance: float = 2.0) -> PerImage:
    """Share of the edge pixels of both outlines within ``tolerance`` of the other outline.

    Raises:
        ValueError: For a negative tolerance.
    """
    if not (isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"Expected a tolerance >= 0, got {tolerance}.")
    shares = [_share_near(each, tolerance) for each in surface_distances]
    return torch.tensor(shares, dtype=torch.float32)


def hausdorff95(predictions: Masks, masks: Masks, spacing: Spacing | None = None) -> PerImage:
    """95th percentile of the distance between outlines, in pixels or the unit of ``spacing``.

    >>> empty = torch.zeros(1, 1, 3, 4, dtype=torch.bool)
    >>> hausdorff95(empty, empty), hausdorff95(empty, ~empty)
    (tensor([0.]), tensor([5.]))
    """
    return hd95(surface_distances(predictions, masks, spacing)).to(masks.device)


def surface_dice(
    predictions: Masks, masks: Masks, tolerance: float = 2.0, spacing: Spacing | None = None
) -> PerImage:
    """Normalised surface Dice (NSD, Nikolov et al., 2018, https://arxiv.org/abs/1809.04430).

    The share of the edge pixels of both outlines that lie within ``tolerance`` of the other
    outline, in [0, 1]. Edges are counted in pixels, not by length.

    Args:
        predictions: Bool, shape ``(b, 1, h, w)``, on any device; the CPU does the work.
        masks: Ground truth, same shape.
        tolerance: Distance up to which an edge pixel counts as correct, in the unit of
            ``spacing``. Report it with every NSD.
        spacing: Height and width of a pixel, the same for all images; None: distances in pixels.

    >>> empty = torch.zeros(1, 1, 3, 4, dtype=torch.bool)
    >>> surface_dice(empty, empty), surface_dice(empty, ~empty)
    (tensor([1.]), tensor([0.]))
    """
    return nsd(surface_distances(predictions, masks, spacing), tolerance).to(masks.device)


def _farthest(found: SurfaceDistances) -> float:
    if found.empty:
        return found.diagonal if found.empty == 1 else 0.0
    return float(max(np.percentile(found.there, 95), np.percentile(found.back, 95)))


def _share_near(found: SurfaceDistances, tolerance: float) -> float:
    if found.empty:
        return 0.0 if found.empty == 1 else 1.0
    near = (found.there <= tolerance).sum() + (found.back <= tolerance).sum()
    return float(near / (len(found.there) + len(found.back)))


def _measured(
    prediction: NDArray[np.bool_], mask: NDArray[np.bool_], spacing: Spacing | None
) -> SurfaceDistances:
    empty = int(not prediction.any()) + int(not mask.any())
    high, wide = spacing or (1.0, 1.0)
    diagonal = hypot(mask.shape[0] * high, mask.shape[1] * wide)
    nothing = np.zeros(0, dtype=np.float32)
    there, back = (nothing, nothing) if empty else _distances(prediction, mask, spacing)
    return SurfaceDistances(there, back, diagonal, empty)


def _distances(
    prediction: NDArray[np.bool_], mask: NDArray[np.bool_], spacing: Spacing | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    from monai.metrics.utils import get_surface_distance  # takes seconds to import

    box = _bounding_box(prediction | mask)
    first, second = _edges(prediction[box]), _edges(mask[box])
    there = get_surface_distance(first, second, spacing=spacing)
    back = get_surface_distance(second, first, spacing=spacing)
    return np.asarray(there, dtype=np.float32), np.asarray(back, dtype=np.float32)


def _edges(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    # Same as in MONAI, whose own function emits deprecation warnings in some releases.
    inside: NDArray[np.bool_] = binary_erosion(area)
    return area & ~inside


def _bounding_box(area: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(area.any(axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _as_arrays(masks: Tensor) -> NDArray[np.bool_]:
    arrays: NDArray[np.bool_] = masks[:, 0].detach().cpu().numpy()
    return arrays
