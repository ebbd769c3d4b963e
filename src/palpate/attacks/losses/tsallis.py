"""The Tsallis cross-entropy, its exponent swept while the attack goes on."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from palpate.attacks.losses._pixels import margins, mean
from palpate.attacks.losses.basic import bce
from palpate.types import Logits, Loss, Masks, PerImage


def tsallis(logits: Logits, masks: Masks, *, exponent: float) -> PerImage:
    r"""Tsallis cross-entropy, mean over the pixels of each image.

    With :math:`q` the probability given to the truth and :math:`r` the exponent it is
    :math:`(1 - q^{1-r}) / (1 - r)`: cross-entropy whose gradient is weighted by
    :math:`q^{1-r}`. The smaller the exponent, the less a pixel counts that is wrong already.

    Args:
        logits: Of the model.
        masks: Ground truth.
        exponent: At most 1, which is cross-entropy itself; beyond, wrong pixels would count more.

    Raises:
        ValueError: If the exponent is larger than 1.
    """
    _check(exponent)
    log_q = F.logsigmoid(margins(logits, masks))
    rest = 1 - exponent
    # Near 1 the difference of two almost equal powers has no digits left; expm1 keeps them.
    return mean(-log_q if rest == 0 else -torch.expm1(rest * log_q) / rest)


@dataclass(frozen=True)
class Tsallis:
    """Tsallis cross-entropy under a swept exponent (Matyasko et al., 2026).

    TsallisPGD, https://arxiv.org/abs/2605.03405: the exponent goes evenly from -2, where only
    pixels the model is sure of count, to 1, where all do. Called as a loss it gives plain
    cross-entropy: values under different exponents cannot be compared.

    With a target, the loss goes away from the opposite of the target, which in the binary case
    is the same aim. Going towards the target by this loss would do the contrary of what it is
    for: pixels far from the target would be those that do not count.

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
        """Plain cross-entropy, to compare points by."""
        return bce(logits, masks)

    def at(self, progress: float, *, targeted: bool = False) -> Loss:
        """With the exponent that belongs to ``progress``."""
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
            "pixels that are wrong already would count most."
        )
