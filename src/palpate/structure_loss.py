"""Cross-entropy and IoU that count more near the edge: what PraNet learns by, and MedIS attacks.

Training minimises it, attacks maximise it: one definition for both.
"""

from torch import Tensor
from torch.nn import functional as F

from palpate.types import Logits, Masks, PerImage


def structure_loss(logits: Logits, masks: Masks | Logits) -> PerImage:
    """Cross-entropy and one minus soft IoU, both weighted by :func:`edge_weights`.

    The loss PraNet is trained with (Fan et al., 2020, https://arxiv.org/abs/2006.11392, after
    Wei et al., 2020, https://arxiv.org/abs/1911.11445). One is added to both sides of the
    fraction, in pixels. The public code of PraNet means to weight the cross-entropy, too, but asks
    PyTorch for its mean by a misspelt argument, so that the weights cancel there.
    """
    truth, weights = masks.to(logits), edge_weights(masks, logits)
    pixels = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    entropy = (weights * pixels).flatten(1).sum(1) / weights.flatten(1).sum(1)
    return entropy + weighted_iou_loss(logits.sigmoid(), truth, weights)


def edge_weights(masks: Masks | Logits, like: Logits) -> Logits:
    """1 far from the edge of a mask, up to 6 where a window of 31 pixels is of two minds."""
    truth = masks.to(like)
    # The mean of a square is the mean over rows of means over columns, for a fifteenth of the work.
    columns = F.avg_pool2d(truth, kernel_size=(31, 1), stride=1, padding=(15, 0))
    around = F.avg_pool2d(columns, kernel_size=(1, 31), stride=1, padding=(0, 15))
    return 1 + 5 * (around - truth).abs()


def weighted_iou_loss(found: Logits, truth: Logits, weights: Logits) -> PerImage:
    """One minus the soft IoU of ``found``, values in [0, 1], under weights."""
    shared: Tensor = (found * truth * weights).flatten(1).sum(1)
    total = ((found + truth) * weights).flatten(1).sum(1)
    return 1 - (shared + 1) / (total - shared + 1)
