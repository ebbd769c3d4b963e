"""The loss of the published study of CLIPSeg, which uses probabilities as logits."""

from torch import Tensor
from torch.nn import functional as F

from palpate.types import PerImage

_SMOOTH = 1e-5


def probability_loss(logits: Tensor, masks: Tensor) -> PerImage:
    """1.5 times the Dice loss plus cross-entropy, computed as in the study, per image.

    The cross-entropy uses probabilities as logits. Its value for each pixel is therefore between
    0.31 and 1.31 for any prediction, and its gradient is small.

    Args:
        logits: Logits of shape ``(b, 1, h, w)``.
        masks: Masks of the same shape, bool or grey values in [0, 1].

    Returns:
        Values of shape ``(b,)``.
    """
    probabilities, truth = logits.sigmoid().flatten(1), masks.to(logits).flatten(1)
    both, total = (probabilities * truth).sum(1), probabilities.sum(1) + truth.sum(1)
    overlap = 1 - (2 * both + _SMOOTH) / (total + _SMOOTH)
    entropy = F.binary_cross_entropy_with_logits(probabilities, truth, reduction="none").mean(1)
    return 1.5 * overlap + entropy
