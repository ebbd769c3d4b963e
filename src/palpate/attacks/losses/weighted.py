"""Cross-entropies that weight each pixel by how well it still stands.

Plain cross-entropy spends itself on pixels that are turned already. The losses here weight every
pixel; the weights are taken as they are, no gradient flows through them. A pixel that turns
loses weight and with it value, so two points cannot be compared by such a loss: called as a
loss, each gives the plain cross-entropy.
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
    """Cross-entropy of the pixels that are still right (Croce et al., 2024).

    https://arxiv.org/abs/2306.12941. With a target: of the pixels that do not show it yet.
    """

    def __call__(self, logits: Logits, masks: Masks) -> PerImage:
        """Plain cross-entropy, to compare points by."""
        return bce(logits, masks)

    def at(self, progress: float, *, targeted: bool = False) -> Loss:
        """The same all the way."""
        del progress
        return _weighted(lambda right: (right > 0).to(right), targeted)


@dataclass(frozen=True)
class SegPGD:
    r"""Balanced cross-entropy (Gu et al., 2022, https://arxiv.org/abs/2207.12391).

    Right pixels weigh :math:`1 - \lambda`, wrong ones :math:`\lambda`, and :math:`\lambda` grows
    from 0 at the first step towards one half after the last: the attack begins with the pixels
    that are still right and ends with all alike. With a target the weights change places.
    """

    def __call__(self, logits: Logits, masks: Masks) -> PerImage:
        """Plain cross-entropy, to compare points by."""
        return bce(logits, masks)

    def at(self, progress: float, *, targeted: bool = False) -> Loss:
        """With lambda at half of ``progress``."""
        share = progress / 2
        return _weighted(lambda right: torch.where(right > 0, 1 - share, share).to(right), targeted)


@dataclass(frozen=True)
class CosPGD:
    r"""Cosine-weighted cross-entropy (Agnihotri et al., 2024, https://arxiv.org/abs/2302.02213).

    The weight of a pixel is the cosine between the predicted distribution over background and
    foreground and the true one, :math:`q / \sqrt{q^2 + (1-q)^2}` with :math:`q` the probability
    given to the truth; with a target, one minus that. On a single channel, as the formula is
    often applied to binary models, the cosine would be 1 everywhere.
    """

    def __call__(self, logits: Logits, masks: Masks) -> PerImage:
        """Plain cross-entropy, to compare points by."""
        return bce(logits, masks)

    def at(self, progress: float, *, targeted: bool = False) -> Loss:
        """The same all the way."""
        del progress
        return _weighted(_cosine, targeted)


def _weighted(weight: Callable[[Tensor], Tensor], targeted: bool) -> Loss:
    """Cross-entropy under a weight of the margins; with a target, under its complement."""

    def loss(logits: Logits, masks: Masks) -> PerImage:
        right = margins(logits, masks)
        weights = weight(right.detach())
        return mean((1 - weights if targeted else weights) * F.softplus(-right))

    return loss


def _cosine(right: Tensor) -> Tensor:
    q, rest = right.sigmoid(), (-right).sigmoid()
    return q / torch.sqrt(q**2 + rest**2)
