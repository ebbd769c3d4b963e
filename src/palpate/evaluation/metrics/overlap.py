"""Overlap metrics, one value per image.

Means, intervals and tests are the business of :mod:`palpate.evaluation.statistics`; counts, Dice
and IoU, and the rule for empty masks, stand in :mod:`palpate.overlap`.
"""

from palpate.overlap import Counts, binarise, count, dice, iou, miou, ratio, require_pairs
from palpate.types import PerImage

__all__ = [
    "Counts",
    "binarise",
    "count",
    "dice",
    "iou",
    "miou",
    "precision",
    "recall",
    "require_pairs",
]


def precision(counts: Counts) -> PerImage:
    r"""Share of the predicted foreground that is right, :math:`TP / (TP + FP)`.

    >>> mask = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    >>> precision(count(~mask, mask)), precision(count(~mask, ~mask))
    (tensor([0.]), tensor([1.]))
    """
    return ratio(counts.tp, counts.area, counts)


def recall(counts: Counts) -> PerImage:
    r"""Share of the true foreground that is found, :math:`TP / (TP + FN)`; also sensitivity."""
    return ratio(counts.tp, counts.mask_area, counts)
