"""How much two masks overlap, from pixel counts and never averaged too early.

Training chooses its best checkpoint by these numbers, attacks their best iterate, evaluation its
scores: one definition for all, one value per image.

Empty masks, stated once: an empty prediction of an empty mask is a perfect answer and scores 1.
Where only one of the two is empty, whatever then has nothing to divide by scores 0.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from palpate.types import Logits, Masks, PerImage


class Counts(NamedTuple):
    """Pixels of each image by prediction and truth."""

    tp: Int64[Tensor, " b"]
    fp: Int64[Tensor, " b"]
    fn: Int64[Tensor, " b"]
    tn: Int64[Tensor, " b"]

    @property
    def area(self) -> Int64[Tensor, " b"]:
        """Pixels predicted as foreground."""
        return self.tp + self.fp

    @property
    def mask_area(self) -> Int64[Tensor, " b"]:
        """Pixels that are foreground in truth."""
        return self.tp + self.fn


def count(predictions: Masks, masks: Masks) -> Counts:
    """Count true and false positives and negatives, per image.

    Raises:
        ValueError: Where the two are not boolean or not of one shape.

    >>> truth = torch.tensor([[[[True, True, False, False]]]])
    >>> count(~truth, truth).fn
    tensor([2])
    """
    require_pairs(predictions, masks)
    p, t = predictions.flatten(1), masks.flatten(1)
    return Counts(*((a & b).sum(1) for a, b in ((p, t), (p, ~t), (~p, t), (~p, ~t))))


def binarise(logits: Logits, threshold: float = 0.0) -> Masks:
    """Foreground where the logit exceeds ``threshold``; 0 is a probability of one half.

    Raises:
        FloatingPointError: Where a logit is NaN. It would compare as background, and a broken
            model would look like one that found nothing.

    >>> binarise(torch.tensor([[[[-1.0, 0.0, 1.0]]]]))
    tensor([[[[False, False,  True]]]])
    """
    if logits.isnan().any():
        broken = logits.isnan().flatten(1).any(1).nonzero().flatten().tolist()
        raise FloatingPointError(f"Expected logits that are numbers, got NaN in images {broken}.")
    return logits > threshold


def dice(counts: Counts) -> PerImage:
    r"""Dice similarity coefficient (DSC), :math:`2 TP / (2 TP + FP + FN)`, in [0, 1].

    >>> empty = torch.zeros(1, 1, 2, 2, dtype=torch.bool)
    >>> dice(count(empty, empty)), dice(count(~empty, empty))
    (tensor([1.]), tensor([0.]))
    """
    return ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn, counts)


def iou(counts: Counts) -> PerImage:
    r"""Intersection over union of the foreground, :math:`TP / (TP + FP + FN)`, in [0, 1]."""
    return ratio(counts.tp, counts.tp + counts.fp + counts.fn, counts)


def require_pairs(predictions: Tensor, masks: Tensor) -> None:
    """Refuse what torch would broadcast or take the bits of without a word."""
    if predictions.shape != masks.shape:
        shapes = f"{tuple(predictions.shape)} and {tuple(masks.shape)}"
        raise ValueError(f"Expected predictions and masks of one shape, got {shapes}.")
    if predictions.dtype != torch.bool or masks.dtype != torch.bool:
        kinds = f"{predictions.dtype} and {masks.dtype}"
        raise ValueError(f"Expected boolean predictions and masks, got {kinds}; binarise first.")


def ratio(part: Tensor, whole: Tensor, counts: Counts) -> PerImage:
    """``part / whole``; where ``whole`` is 0, 1 if mask and prediction are empty, else 0."""
    both_empty = counts.tp + counts.fp + counts.fn == 0
    return torch.where(whole > 0, part / whole.clamp_min(1), both_empty.float())
