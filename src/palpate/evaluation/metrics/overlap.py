"""Overlap metrics, one value per image.

Means, intervals and tests are the business of :mod:`palpate.evaluation.statistics`; counts, Dice
and IoU, and the rule for empty masks, stand in :mod:`palpate.overlap`.
"""

import torch

from palpate.overlap import Counts, binarise, count, dice, iou, require_pairs
from palpate.types import PerImage

__all__ = [
    "Counts",
    "binarise",
    "count",
    "dice",
    "iou",
    "miou",
    "require_pairs",
]


def miou(counts: Counts) -> PerImage:
    """Mean IoU of foreground and background, in [0, 1].

    A class that neither prediction nor mask contains is left out of the mean; one that only one
    of them contains counts as 0. Small objects leave the background's IoU close to 1, so a
    model that finds nothing still scores about one half.

    >>> empty = torch.zeros(1, 1, 2, 2, dtype=torch.bool)
    >>> miou(count(empty, empty)), miou(count(~empty, empty))
    (tensor([1.]), tensor([0.]))
    """
    errors = counts.fp + counts.fn
    correct = torch.stack([counts.tp, counts.tn])
    union = correct + errors
    present = union > 0
    return (correct / union.clamp_min(1)).sum(0) / present.sum(0)
