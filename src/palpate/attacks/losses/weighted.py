"""Cross-entropies that weight each pixel by its current prediction.

The gradient of the plain cross-entropy is largest for pixels that are already wrong. The losses
here give each pixel a weight, through which no gradient flows. A pixel that becomes wrong loses
weight, so the value can decrease although the attack succeeds, and points cannot be compared by it.
Called directly, each class therefore gives the plain cross-entropy.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from palpate.attacks.losses._pixels import margins, mean
from palpate.attacks.losses.basic import bce
from palpate.types import Logits, Loss, Masks, PerImage


@dataclass(frozen=True)
class MaskedBCE:
    """Cross-entropy of the pixels that are still correct (Croce et al., 2024).

    https://arxiv.org/abs/2306.12941. In a targeted attack, the cross-entropy of the pixels that do
    not yet have the class of the target.
    """

    def __call__(self, logits: Logits, masks: Masks) -> PerImage:
        """The plain cross-entropy, by which points are compared."""
        return bce(logits, masks)

    def at(self, progress: float, *, targeted: bool = False) -> Loss:
        """The weighted loss, which does not depend on ``progress``."""
        del progress
        return _weighted(lambda right: (right > 0).to(right), targeted)


@dataclass(frozen=True)
class SegPGD:
    r"""Balanced cross-entropy (Gu et al., 2022, https://arxiv.org/abs/2207.12391).

    Correct pixels have the weight :math:`1 - \lambda`, wrong ones :math:`\lambda`. :math:`\lambda`
    grows from 0 at the first step to one half after the last, so the attack begins with the pixels
    that are still correct and ends with equal weights. In a targeted attack the two weights are
    exchanged.
    """

    def __call__(self, logits: Logits, masks: Masks) -> PerImage:
        """The plain cross-entropy, by which points are compared."""
        return bce(logits, masks)

    def at(self, progress: float, *, targeted: bool = False) -> Loss:
        """The weighted loss with lambda equal to half of ``progress``."""
        share = progress / 2
        return _weighted(lambda right: torch.where(right > 0, 1 - share, share).to(right), targeted)


@dataclass(frozen=True)
class CosPGD:
    r"""Cosine-weighted cross-entropy (Agnihotri et al., 2024, https://arxiv.org/abs/2302.02213).

    The weight of a pixel is the cosine between the predicted and the true distribution over
    background and foreground, :math:`q / \sqrt{q^2 + (1-q)^2}` with :math:`q` the probability of
    the true class; in a targeted attack, one minus that. Applied to a single channel, as is often
    done for binary models, the cosine would be 1 everywhere.
    """

    def __call__(self, logits: Logits, masks: Masks) -> PerImage:
        """The plain cross-entropy, by which points are compared."""
        return bce(logits, masks)

    def at(self, progress: float, *, targeted: bool = False) -> Loss:
        """The weighted loss, which does not depend on ``progress``."""
        del progress
        return _weighted(_cosine, targeted)


def _weighted(weight: Callable[[Tensor], Tensor], targeted: bool) -> Loss:
    """Cross-entropy with weights computed from the margins; if targeted, one minus the weights."""

    def loss(logits: Logits, masks: Masks) -> PerImage:
        right = margins(logits, masks)
        weights = weight(right.detach())  # constant for the gradient
        # softplus of the negative margin is the cross-entropy, without overflow.
        return mean((1 - weights if targeted else weights) * F.softplus(-right))

    return loss


def _cosine(right: Tensor) -> Tensor:
    q, rest = right.sigmoid(), (-right).sigmoid()
    return q / torch.sqrt(q**2 + rest**2)
