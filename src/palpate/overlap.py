"""How much two masks overlap, from pixel counts and never averaged too early.

Training chooses its best checkpoint by these numbers, attacks their best iterate, evaluation its
scores: one definition for all. Every function returns one value per image.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from palpate.types import Logits, Masks


class Counts(NamedTuple):
    """Pixels of each image by truth and prediction."""

    tp: Int64[Tensor, " b"]
    fp: Int64[Tensor, " b"]
    fn: Int64[Tensor, " b"]
    tn: Int64[Tensor, " b"]


def binarise(logits: Logits, threshold: float = 0.0) -> Masks:
    """Foreground where the logit exceeds the threshold; 0 is a probability of one half."""
    return logits > threshold


def count(predictions: Masks, masks: Masks) -> Counts:
    """Count true and false positives and negatives, per image.

    >>> truth = torch.tensor([[[[True, True, False, False]]]])
    >>> count(~truth, truth).fn
    tensor([2])
    """
    p, t = predictions.flatten(1), masks.flatten(1)
    return Counts(*((a & b).sum(1) for a, b in ((p, t), (p, ~t), (~p, t), (~p, ~t))))


def dice(counts: Counts) -> Float[Tensor, " b"]:
    r"""Dice similarity coefficient (DSC), :math:`2 TP / (2 TP + FP + FN)`, in [0, 1].

    An empty prediction of an empty mask is a perfect answer and scores 1.

    >>> empty = torch.zeros(1, 1, 2, 2, dtype=torch.bool)
    >>> dice(count(empty, empty)), dice(count(~empty, empty))
    (tensor([1.]), tensor([0.]))
    """
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def iou(counts: Counts) -> Float[Tensor, " b"]:
    r"""Intersection over union, :math:`TP / (TP + FP + FN)`, in [0, 1]; empty on empty is 1."""
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def _ratio(part: Tensor, whole: Tensor) -> Float[Tensor, " b"]:
    return torch.where(whole > 0, part / whole.clamp_min(1), 1.0)
