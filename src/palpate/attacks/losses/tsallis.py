"""The Tsallis cross-entropy, with an exponent that changes during the attack."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from palpate.attacks.losses._pixels import margins, mean
from palpate.attacks.losses.basic import bce
from palpate.types import Logits, Loss, Masks, PerImage


def tsallis(logits: Logits, masks: Masks, *, exponent: float) -> PerImage:
    r"""Tsallis cross-entropy, mean over the pixels of each image.

    With :math:`q` the probability of the true class and :math:`r` the exponent it is
    :math:`(1 - q^{1-r}) / (1 - r)`: a cross-entropy whose gradient is weighted by :math:`q^{1-r}`.
    The smaller the exponent, the smaller the weight of pixels that are already wrong.

    Args:
        logits: Logits of shape ``(b, 1, h, w)``; above 0 means foreground.
        masks: Bool masks of the same shape.
        exponent: In [-1000, 1]; 1 is the cross-entropy. Above 1, wrong pixels would have the
            largest weight.

    Raises:
        ValueError: If the exponent is out of range.
    """
    _check(exponent)
    log_q = F.logsigmoid(margins(logits, masks))
    rest = 1 - exponent
    # For exponents near 1, q ** rest is close to 1; expm1 avoids the cancellation.
    return mean(-log_q if rest == 0 else -torch.expm1(rest * log_q) / rest)


@dataclass(frozen=True)
class Tsallis:
    """Tsallis cross-entropy with a scheduled exponent (Matyasko et al., 2026).

    TsallisPGD, https://arxiv.org/abs/2605.03405: the exponent changes linearly from -2, where only
    confidently correct pixels have weight, to 1, the cross-entropy. Called directly, it gives the
    plain cross-entropy, because values with different exponents cannot be compared.

    A targeted attack moves away from the complement of the target, which is equivalent in the
    binary case. Descending this loss towards the target would give the smallest weight to the
    pixels that are farthest from it.

    Attributes:
        first: Exponent of the first step, at most 1.
        last: Exponent after the last step, at most 1.
    """

    first: float = -2.0
    last: float = 1.0

    def __post_init__(self) -> None:
        _check(self.first)
        _check(self.last)

    def __call__(self, logits: Logits, masks: Masks) -> PerImage:
        """The plain cross-entropy, by which points are compared."""
        return bce(logits, masks)

    def at(self, progress: float, *, targeted: bool = False) -> Loss:
        """The loss with the exponent at ``progress``."""
        exponent = self.first + progress * (self.last - self.first)

        def loss(logits: Logits, masks: Masks) -> PerImage:
            if targeted:  # the attack descends
                return -tsallis(logits, ~masks, exponent=exponent)
            return tsallis(logits, masks, exponent=exponent)

        return loss


def _check(exponent: float) -> None:
    if not -1e3 <= exponent <= 1:
        raise ValueError(
            f"Expected an exponent of at most 1, and no less than -1000, got {exponent}; above 1 "
            "pixels that are already wrong would have the largest weight."
        )
