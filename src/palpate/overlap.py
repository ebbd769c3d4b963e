"""Overlap of a predicted and a true mask, computed from the pixel counts of each image.

Training selects the best checkpoint by these scores, attacks select the best iterate, and
evaluation reports them, so all use these definitions. Every function returns one value per image.

Empty masks: if prediction and mask are both empty, the score is 1. If only one of them is empty, a
score with a denominator of 0 is 0.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from palpate.types import Logits, Masks, PerImage


class Counts(NamedTuple):
    """Numbers of true and false positives and negatives in each image, in pixels."""

    tp: Int64[Tensor, " b"]
    fp: Int64[Tensor, " b"]
    fn: Int64[Tensor, " b"]
    tn: Int64[Tensor, " b"]

    @property
    def area(self) -> Int64[Tensor, " b"]:
        """Number of pixels predicted as foreground."""
        return self.tp + self.fp

    @property
    def mask_area(self) -> Int64[Tensor, " b"]:
        """Number of foreground pixels of the mask."""
        return self.tp + self.fn


def count(predictions: Masks, masks: Masks) -> Counts:
    """Count true and false positives and negatives of each image.

    Args:
        predictions: Predicted masks ``(b, 1, h, w)``, bool.
        masks: Ground truth of the same shape and type.

    Raises:
        ValueError: If either is not boolean, or their shapes differ.

    >>> truth = torch.tensor([[[[True, True, False, False]]]])
    >>> count(~truth, truth).fn
    tensor([2])
    """
    require_pairs(predictions, masks)
    p, t = predictions.flatten(1), masks.flatten(1)
    return Counts(*((a & b).sum(1) for a, b in ((p, t), (p, ~t), (~p, t), (~p, ~t))))


def binarise(logits: Logits, threshold: float = 0.0) -> Masks:
    """The predicted mask: foreground where the logit exceeds ``threshold``.

    Args:
        logits: Logits of the model.
        threshold: Logit above which a pixel is foreground; 0 is a probability of one half.

    Raises:
        FloatingPointError: If a logit is NaN. It would compare as background, so the output of a
            broken model would look like an empty prediction.

    >>> binarise(torch.tensor([[[[-1.0, 0.0, 1.0]]]]))
    tensor([[[[False, False,  True]]]])
    """
    if logits.isnan().any():
        broken = logits.isnan().flatten(1).any(1).nonzero().flatten().tolist()
        raise FloatingPointError(f"Expected logits that are numbers, got NaN in images {broken}.")
    return logits > threshold


def dice(counts: Counts, dtype: torch.dtype = torch.float32) -> PerImage:
    r"""Dice similarity coefficient (DSC), :math:`2 TP / (2 TP + FP + FN)`, in [0, 1].

    Args:
        counts: From :func:`count`.
        dtype: Type of the result. Use float64 to compare scores with a threshold: rounded to
            float32, a score of 0.45 is less than 0.45.

    >>> empty = torch.zeros(1, 1, 2, 2, dtype=torch.bool)
    >>> dice(count(empty, empty)), dice(count(~empty, empty))
    (tensor([1.]), tensor([0.]))
    """
    return ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn, counts, dtype)


def iou(counts: Counts) -> PerImage:
    r"""Intersection over union of the foreground, :math:`TP / (TP + FP + FN)`, in [0, 1]."""
    return ratio(counts.tp, counts.tp + counts.fp + counts.fn, counts)


def miou(counts: Counts, dtype: torch.dtype = torch.float32) -> PerImage:
    """Mean IoU of foreground and background, in [0, 1].

    A class that neither prediction nor mask contains is left out of the mean; a class that only
    one of them contains counts as 0. With small objects the IoU of the background is close to 1,
    so an empty prediction still scores about one half.

    Args:
        counts: From :func:`count`.
        dtype: Type of the result, see :func:`dice`.

    >>> empty = torch.zeros(1, 1, 2, 2, dtype=torch.bool)
    >>> miou(count(empty, empty)), miou(count(~empty, empty))
    (tensor([1.]), tensor([0.]))
    """
    correct = torch.stack([counts.tp, counts.tn])
    union = correct + counts.fp + counts.fn
    present = (union > 0).sum(0)
    # An absent class has 0 correct pixels; the lower bound makes its term 0 instead of NaN.
    return (correct.to(dtype) / union.clamp_min(1)).sum(0) / present


def require_pairs(predictions: Tensor, masks: Tensor) -> None:
    """Raise ``ValueError`` unless both are boolean and of one shape.

    PyTorch would broadcast other shapes and apply bitwise operators to integers without an error.
    """
    if predictions.shape != masks.shape:
        shapes = f"{tuple(predictions.shape)} and {tuple(masks.shape)}"
        raise ValueError(f"Expected predictions and masks of one shape, got {shapes}.")
    if predictions.dtype != torch.bool or masks.dtype != torch.bool:
        kinds = f"{predictions.dtype} and {masks.dtype}"
        raise ValueError(f"Expected boolean predictions and masks, got {kinds}; binarise first.")


def ratio(
    part: Tensor, whole: Tensor, counts: Counts, dtype: torch.dtype = torch.float32
) -> PerImage:
    """``part / whole``; where ``whole`` is 0, it is 1 if mask and prediction are empty, else 0."""
    # Where ``whole`` is 0 the quotient is replaced; the lower bound only avoids a division by 0.
    both_empty = counts.tp + counts.fp + counts.fn == 0
    return torch.where(whole > 0, part.to(dtype) / whole.clamp_min(1), both_empty.to(dtype))
