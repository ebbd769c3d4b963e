"""The surrogate losses of MedIS, as their papers define them.

MedIS (Shukla et al., 2023, Multimedia Tools and Applications 83, 11745-11768) attacks with six
losses and keeps the best result for each image. Two of the six are in other files:
:func:`~palpate.attacks.losses.bce_dice` and :func:`~palpate.attacks.losses.lovasz_hinge`. The
losses as its notebooks compute them are in :mod:`palpate.attacks.losses.notebook`.
"""

import torch
from torch.nn import functional as F

from palpate.attacks.losses._pixels import margins, mean
from palpate.attacks.losses.basic import bce_dice, dice, soft_dice
from palpate.attacks.losses.lovasz import lovasz_hinge
from palpate.structure_loss import structure_loss
from palpate.types import Logits, Masks, PerImage

MIX = {
    "structure": 0.21,
    "log_cosh_dice": 0.18,
    "bce_dice": 0.20,
    "exponential_log": 0.15,
    "lovasz_hinge": 0.26,
}
"""Weights of the other five losses in the sixth loss."""


def structure(logits: Logits, masks: Masks) -> PerImage:
    """Cross-entropy plus one minus IoU, both weighted towards the edge of the mask.

    The loss PraNet is trained with (Fan et al., 2020, https://arxiv.org/abs/2006.11392, after
    Wei et al., 2020, https://arxiv.org/abs/1911.11445). One pixel is added to numerator and
    denominator.
    """
    return structure_loss(logits, masks)


def log_cosh_dice(logits: Logits, masks: Masks) -> PerImage:
    """Logarithm of the hyperbolic cosine of the Dice loss (Jadon, 2020).

    https://arxiv.org/abs/2006.14822. It is an increasing function of
    :func:`~palpate.attacks.losses.dice`, so its gradient has the same direction, and an attack
    that follows the normalised gradient is the same for both.
    """
    return dice(logits, masks).cosh().log()


def exponential_log(logits: Logits, masks: Masks) -> PerImage:
    """Exponential-logarithmic loss (Wong et al., 2018, https://arxiv.org/abs/1809.00076).

    Half the squared logarithm of the soft Dice score plus half the mean squared logarithm of
    the probability of the true class. Powers and weights are those of MedIS; the paper uses other
    powers and weights the classes by their frequency.
    """
    overlap = soft_dice(logits, masks).log()
    return 0.5 * overlap**2 + 0.5 * mean(F.softplus(-margins(logits, masks)) ** 2)


def medis_mix(logits: Logits, masks: Masks) -> PerImage:
    """The weighted sum of the other five, the sixth loss of MedIS."""
    losses = (structure, log_cosh_dice, bce_dice, exponential_log, lovasz_hinge)
    parts = [MIX[loss.__name__] * loss(logits, masks) for loss in losses]
    return torch.stack(parts).sum(0)
