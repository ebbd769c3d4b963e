"""The Dice loss of logits divided by a temperature that falls during the attack."""

from dataclasses import dataclass

import torch

from palpate.attacks.losses._pixels import margins, mean
from palpate.types import Logits, Loss, Masks, PerImage


@dataclass(frozen=True)
class AnnealedDice:
    r"""Dice loss with a falling temperature.

    The logits :math:`z` of an image are divided by :math:`T` times their root mean square, without
    a gradient through the divisor. At a high temperature the sigmoid is nearly linear, so that all
    pixels have a gradient however sure the model is of them. As the temperature falls, the loss
    approaches one minus the Dice score of the prediction, and only pixels near the decision
    boundary have a gradient. The temperature falls geometrically from ``first`` to ``last``. The
    loss does not depend on the scale of the logits. As in :func:`~palpate.attacks.losses.dice`, one
    pixel is added to numerator and denominator of the score.

    Attributes:
        first: Temperature of the first step, above 0.
        last: Temperature after the last step, above 0, at most ``first``.
    """

    first: float = 2.0
    last: float = 0.03

    def __post_init__(self) -> None:
        if not 0 < self.last <= self.first:
            raise ValueError(
                f"Expected temperatures first >= last > 0, got {self.first} and {self.last}."
            )

    def __call__(self, logits: Logits, masks: Masks) -> PerImage:
        """The loss at the last temperature, by which points are compared."""
        return _dice_at(self.last, logits, masks)

    def at(self, progress: float, *, targeted: bool = False) -> Loss:
        """The loss at the temperature of ``progress``."""
        del targeted  # a target is a mask like any other
        temperature = self.first * (self.last / self.first) ** progress
        return lambda logits, masks: _dice_at(temperature, logits, masks)


annealed_dice = AnnealedDice()
"""The default loss of FGSM, PGD and APGD, and the first loss of the ensemble."""


def _dice_at(temperature: float, logits: Logits, masks: Masks) -> PerImage:
    scale = mean(logits.detach() ** 2).sqrt().clamp_min(1e-12)
    right = margins(logits, masks) / (temperature * scale).view(-1, 1, 1, 1)
    # From the probability of the wrong class, which has digits where that of the true class is
    # rounded to 1: the gradient of a pixel of which the model is sure is then small, but not zero.
    wrong, truth = torch.sigmoid(-right).flatten(1), masks.to(logits).flatten(1)
    errors, missed = wrong.sum(1), (wrong * truth).sum(1)
    found = truth.sum(1) - missed
    return errors / (2 * found + errors + 1)
