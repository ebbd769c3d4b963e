"""The surrogate losses of MedIS, as defined in their papers.

MedIS (Shukla et al., 2023, Multimedia Tools and Applications 83, 11745-11768) attacks with six
losses and keeps the best result for each image. Two of the six are in other files:
:func:`~palpate.attacks.losses.bce_dice` and :func:`~palpate.attacks.losses.lovasz_hinge`. The
losses as computed in its notebooks are in :mod:`palpate.attacks.losses.notebook`.
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
"""Weights of the other five losses in :func:`medis_mix`, the sixth loss."""


def structure(logits: Logits, masks: Masks) -> PerImage:
    """Cross-entropy plus one minus soft IoU, both with larger weights near the edge of the mask.

    The training loss of PraNet (Fan et al., 2020, https://arxiv.org/abs/2006.11392, after Wei et
    al., 2020, https://arxiv.org/abs/1911.11445). One pixel is added to numerator and denominator of
    the IoU.

    Args:
        logits: Logits of shape ``(b, 1, h, w)``; above 0 means foreground.
        masks: Bool masks of the same shape.

    Returns:
        Values of shape ``(b,)``, at least 0.
    """
    return structure_loss(logits, masks)


def log_cosh_dice(logits: Logits, masks: Masks) -> PerImage:
    """Logarithm of the hyperbolic cosine of the Dice loss (Jadon, 2020).

    https://arxiv.org/abs/2006.14822. It is an increasing function of
    :func:`~palpate.attacks.losses.dice`, so its gradient has the same direction, and attacks that
    use the normalised gradient give the same result for both.

    Args:
        logits: Logits of shape ``(b, 1, h, w)``; above 0 means foreground.
        masks: Bool masks of the same shape.

    Returns:
        Values of shape ``(b,)``, at least 0.
    """
    return dice(logits, masks).cosh().log()


def exponential_log(logits: Logits, masks: Masks) -> PerImage:
    """Exponential-logarithmic loss (Wong et al., 2018, https://arxiv.org/abs/1809.00076).

    Half the squared logarithm of the soft Dice score plus half the mean squared logarithm of
    the probability of the true class. Exponents and weights are those of MedIS; the paper uses
    other exponents and weights the classes by their frequency.

    Args:
        logits: Logits of shape ``(b, 1, h, w)``; above 0 means foreground.
        masks: Bool masks of the same shape.

    Returns:
        Values of shape ``(b,)``, at least 0.
    """
    overlap = soft_dice(logits, masks).log()
    return 0.5 * overlap**2 + 0.5 * mean(F.softplus(-margins(logits, masks)) ** 2)


def medis_mix(logits: Logits, masks: Masks) -> PerImage:
    """Weighted sum of the other five losses of MedIS, with the weights :data:`MIX`.

    Args:
        logits: Logits of shape ``(b, 1, h, w)``; above 0 means foreground.
        masks: Bool masks of the same shape.

    Returns:
        Values of shape ``(b,)``, at least 0.
    """
    losses = (structure, log_cosh_dice, bce_dice, exponential_log, lovasz_hinge)
    parts = [MIX[loss.__name__] * loss(logits, masks) for loss in losses]
    return torch.stack(parts).sum(0)
