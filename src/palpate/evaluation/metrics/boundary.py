"""How far the predicted outline is from the true one: HD95 and normalised surface Dice.

Both equal MONAI's metrics, whose distances they use. An edge pixel is a foreground pixel with a
background pixel (or the outside of the image) above, below, left or right of it.

Empty masks: where both are empty the answer is perfect, HD95 = 0 and NSD = 1. Where exactly one
is empty, HD95 is the diagonal of the image, longer than any distance in it, and NSD = 0.
"""

from math import hypot, isfinite
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from torch import Tensor

from palpate.evaluation.metrics.overlap import require_pairs
from palpate.types import Masks, PerImage

Spacing: TypeAlias = tuple[float, float]  # height and width of a pixel, for example in mm


class BoundaryScores(NamedTuple):
    """Both scores of each image, from one computation of its distances."""

    hausdorff95: PerImage
    surface_dice: PerImage


def boundary_scores(
    predictions: Masks, masks: Masks, tolerance: float = 2.0, spacing: Spacing | None = None
) -> BoundaryScores:
    """HD95 and NSD at half the price of asking for them one after the other.

    Args:
        predictions: On any device; the work is done on the CPU.
        masks: The truth.
        tolerance: Distance up to which an edge pixel counts as right, in the unit of
            ``spacing``. Two pixels by default; state it beside every NSD.
        spacing: Height and width of a pixel, the same for all images; None counts pixels.

    Raises:
        ValueError: For a negative tolerance, a spacing that is not positive, or predictions
            and masks that do not belong together.
    """
    require_pairs(predictions, masks)
    _require_units(tolerance, spacing)
    pairs = zip(_as_arrays(predictions), _as_arrays(masks), strict=True)
    scores = [_score(prediction, mask, tolerance, spacing) for prediction, mask in pairs]
    table = torch.tensor(scores, dtype=torch.float32, device=masks.device).view(-1, 2)
    return BoundaryScores(table[:, 0], table[:, 1])


def hausdorff95(predictions: Masks, masks: Masks, spacing: Spacing | None = None) -> PerImage:
    """95th percentile of the distance between outlines, in pixels or the unit of ``spacing``.

    The larger of the two directed percentiles (prediction to truth, truth to prediction), each
    interpolated linearly, as MONAI has it.

    >>> empty = torch.zeros(1, 1, 3, 4, dtype=torch.bool)
    >>> hausdorff95(empty, empty), hausdorff95(empty, ~empty)
    (tensor([0.]), tensor([5.]))
    """
    return boundary_scores(predictions, masks, spacing=spacing).hausdorff95


def surface_dice(
    predictions: Masks, masks: Masks, tolerance: float = 2.0, spacing: Spacing | None = None
) -> PerImage:
    """Normalised surface Dice (NSD, Nikolov et al., 2018, https://arxiv.org/abs/1809.04430).

    The share of the edge pixels of both outlines that lie within ``tolerance`` of the other
    outline, in [0, 1]. Edges are counted in pixels, not by length.

    >>> empty = torch.zeros(1, 1, 3, 4, dtype=torch.bool)
    >>> surface_dice(empty, empty), surface_dice(empty, ~empty)
    (tensor([1.]), tensor([0.]))
    """
    return boundary_scores(predictions, masks, tolerance, spacing).surface_dice


def _score(
    prediction: NDArray[np.bool_],
    mask: NDArray[np.bool_],
    tolerance: float,
    spacing: Spacing | None,
) -> tuple[float, float]:
    if not prediction.any() and not mask.any():
        return 0.0, 1.0
    if not prediction.any() or not mask.any():
        high, wide = spacing or (1.0, 1.0)
        return hypot(mask.shape[0] * high, mask.shape[1] * wide), 0.0
    there, back = _distances(prediction, mask, spacing)
    near = (there <= tolerance).sum() + (back <= tolerance).sum()
    far = max(np.percentile(there, 95), np.percentile(back, 95))
    return float(far), float(near / (len(there) + len(back)))


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
    # As in MONAI, whose own function warns about its arguments in one release or another.
    inside: NDArray[np.bool_] = binary_erosion(area)
    return area & ~inside


def _bounding_box(area: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(area.any(axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _as_arrays(masks: Tensor) -> NDArray[np.bool_]:
    arrays: NDArray[np.bool_] = masks[:, 0].detach().cpu().numpy()
    return arrays


def _require_units(tolerance: float, spacing: Spacing | None) -> None:
    if not (isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"Expected a tolerance >= 0, got {tolerance}.")
    if spacing is not None and not all(isfinite(side) and side > 0 for side in spacing):
        raise ValueError(f"Expected a spacing (height, width) above 0, got {spacing}.")
