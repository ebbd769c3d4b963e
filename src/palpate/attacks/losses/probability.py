"""The loss of the published study of CLIPSeg: it takes probabilities where logits are expected."""

from torch import Tensor
from torch.nn import functional as F

from palpate.types import PerImage

_SMOOTH = 1e-5


def probability_loss(logits: Tensor, masks: Tensor) -> PerImage:
    """1.5 Dice + cross-entropy as the study computes them, per image.

    The cross-entropy takes probabilities for logits, so that a pixel's share lies between 0.31
    and 1.31 whatever the model says, and its gradient is weak.

    Args:
        logits: ``(b, 1, h, w)``.
        masks: Of the same shape, bool or grey values in [0, 1].
    """
    probabilities, truth = logits.sigmoid().flatten(1), masks.to(logits).flatten(1)
    both, total = (probabilities * truth).sum(1), probabilities.sum(1) + truth.sum(1)
    overlap = 1 - (2 * both + _SMOOTH) / (total + _SMOOTH)
    entropy = F.binary_cross_entropy_with_logits(probabilities, truth, reduction="none").mean(1)
    return 1.5 * overlap + entropy
