"""The surrogate losses of MedIS, in the form their papers give them.

MedIS (Shukla et al., 2023, Multimedia Tools and Applications 83, 11745-11768) attacks with six
losses and keeps, per image, what the best of them achieved. Two of the six are in other files:
:func:`~palpate.attacks.losses.bce_dice` and :func:`~palpate.attacks.losses.lovasz_hinge`. What
its notebooks compute instead is in :mod:`palpate.attacks.losses.notebook`.
"""

import torch
from torch.nn import functional as F

from palpate.attacks.losses._pixels import margins, mean
from palpate.attacks.losses.basic import bce_dice, dice, soft_dice
from palpate.attacks.losses.lovasz import lovasz_hinge
from palpate.types import Logits, Masks, PerImage

MIX = {
    "structure": 0.21,
    "log_cosh_dice": 0.18,
    "bce_dice": 0.20,
    "exponential_log": 0.15,
    "lovasz_hinge": 0.26,
}
"""Weights of the sum that is the sixth loss."""


def structure(logits: Logits, masks: Masks) -> PerImage:
    """Cross-entropy plus one minus IoU, both weighted towards the edge of the mask.

    The loss PraNet is trained with (Fan et al., 2020, https://arxiv.org/abs/2006.11392, after
    Wei et al., 2020, https://arxiv.org/abs/1911.11445). One is added to both sides of the
    fraction, in pixels.
    """
    truth, weights = masks.to(logits), edge_weights(masks, logits)
    pixels = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    entropy = (weights * pixels).flatten(1).sum(1) / weights.flatten(1).sum(1)
    return entropy + weighted_iou_loss(logits.sigmoid(), truth, weights)


def log_cosh_dice(logits: Logits, masks: Masks) -> PerImage:
    """Logarithm of the hyperbolic cosine of the Dice loss (Jadon, 2020).

    https://arxiv.org/abs/2006.14822. It rises with :func:`~palpate.attacks.losses.dice`, so its
    gradient has the same direction; alone it is the same attack.
    """
    return dice(logits, masks).cosh().log()


def exponential_log(logits: Logits, masks: Masks) -> PerImage:
    """Exponential-logarithmic loss (Wong et al., 2018, https://arxiv.org/abs/1809.00076).

    Half the squared logarithm of the soft Dice score plus half the mean squared logarithm of
    the probability given to the truth. Powers and weights are those of MedIS; the paper tries
    other powers and weights the classes by their frequency.
    """
    overlap = soft_dice(logits, masks).log()
    return 0.5 * overlap**2 + 0.5 * mean(F.softplus(-margins(logits, masks)) ** 2)


def medis_mix(logits: Logits, masks: Masks) -> PerImage:
    """The weighted sum of the other five, the sixth loss of MedIS."""
    losses = (structure, log_cosh_dice, bce_dice, exponential_log, lovasz_hinge)
    parts = [MIX[loss.__name__] * loss(logits, masks) for loss in losses]
    return torch.stack(parts).sum(0)


def edge_weights(masks: Masks, like: Logits) -> Logits:
    """1 far from the edge of a mask, up to 6 where a window of 31 pixels is of two minds."""
    truth = masks.to(like)
    # The mean of a square is the mean over rows of means over columns, for a fifteenth of the work.
    columns = F.avg_pool2d(truth, kernel_size=(31, 1), stride=1, padding=(15, 0))
    around = F.avg_pool2d(columns, kernel_size=(1, 31), stride=1, padding=(0, 15))
    return 1 + 5 * (around - truth).abs()


def weighted_iou_loss(found: Logits, truth: Logits, weights: Logits) -> PerImage:
    """One minus the soft IoU of ``found``, values in [0, 1], under weights."""
    shared = (found * truth * weights).flatten(1).sum(1)
    total = ((found + truth) * weights).flatten(1).sum(1)
    return 1 - (shared + 1) / (total - shared + 1)
