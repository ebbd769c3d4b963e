"""Structure loss: cross-entropy and IoU with larger weights near the edge of the mask.

PraNet is trained with it and MedIS attacks with it, so training and attacks share this definition.
"""

from torch import Tensor
from torch.nn import functional as F

from palpate.types import Logits, Masks, PerImage


def structure_loss(logits: Logits, masks: Masks | Logits, ignored: Masks | None = None) -> PerImage:
    """Cross-entropy plus one minus soft IoU, both weighted by :func:`edge_weights`.

    The training loss of PraNet (Fan et al., 2020, https://arxiv.org/abs/2006.11392, after Wei et
    al., 2020, https://arxiv.org/abs/1911.11445). One pixel is added to numerator and denominator of
    the IoU. The public code of PraNet intends to weight the cross-entropy, but a wrong ``reduce``
    argument makes PyTorch average it first, so that the weights cancel.

    Args:
        logits: Logits ``(b, 1, h, w)``; above 0 means foreground.
        masks: Masks of the same shape, bool or values in [0, 1].
        ignored: Pixels of the same shape that have no weight; None if all count.

    Returns:
        Values of shape ``(b,)``, at least 0.
    """
    truth, weights = masks.to(logits), edge_weights(masks, logits)
    if ignored is not None:
        weights = weights * ~ignored
    pixels = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    counted = weights.flatten(1).sum(1).clamp_min(1)  # every pixel that counts has 1 or more
    entropy = (weights * pixels).flatten(1).sum(1) / counted
    return entropy + weighted_iou_loss(logits.sigmoid(), truth, weights)


def edge_weights(masks: Masks | Logits, like: Logits) -> Logits:
    """Weights of the pixels: 1 where the window around a pixel has one class, up to 6 at edges.

    The weight grows with the difference between a pixel of the mask and the mean of the mask over
    the 31 x 31 pixels around it. Outside the image the mask counts as background.

    Args:
        masks: Masks ``(b, 1, h, w)``, bool or values in [0, 1].
        like: Tensor of the wanted device and type.
    """
    truth = masks.to(like)
    # The window mean is separable: two passes of 31 pixels replace one of 31 x 31.
    columns = F.avg_pool2d(truth, kernel_size=(31, 1), stride=1, padding=(15, 0))
    around = F.avg_pool2d(columns, kernel_size=(1, 31), stride=1, padding=(0, 15))
    return 1 + 5 * (around - truth).abs()


def weighted_iou_loss(found: Logits, truth: Logits, weights: Logits) -> PerImage:
    """One minus the weighted soft IoU, with one pixel added to numerator and denominator.

    Args:
        found: Predicted probabilities ``(b, 1, h, w)``, in [0, 1].
        truth: Ground truth as float, of the same shape.
        weights: Weights of the pixels, of the same shape.
    """
    shared: Tensor = (found * truth * weights).flatten(1).sum(1)
    total = ((found + truth) * weights).flatten(1).sum(1)
    return 1 - (shared + 1) / (total - shared + 1)
