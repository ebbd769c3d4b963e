"""The Lovász hinge: a convex surrogate of the Jaccard index of binary predictions."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palpate.attacks.losses._pixels import margins
from palpate.types import Logits, Masks, PerImage


def lovasz_hinge(logits: Logits, masks: Masks) -> PerImage:
    """Lovász hinge (Berman et al., 2018, https://arxiv.org/abs/1705.08790), per image.

    The hinge errors ``1 - margin`` of the pixels are sorted in descending order. Each is weighted
    by the increase of the Jaccard loss when this pixel becomes wrong in addition to those before
    it. Pixels with a margin above 1 have no gradient, so for a confident model this loss may have
    no gradient at all.

    Args:
        logits: Logits of shape ``(b, 1, h, w)``; above 0 means foreground.
        masks: Bool masks of the same shape.

    Returns:
        Values of shape ``(b,)``, at least 0.
    """
    return hinge(margins(logits, masks), masks)


def hinge(right: Logits, masks: Masks) -> PerImage:
    """The Lovász hinge of given margins.

    Args:
        right: Margins of the pixels, positive where a pixel is correct.
        masks: Bool masks of the same shape.
    """
    errors, order = (1 - right).flatten(1).sort(dim=1, descending=True)
    weights = _growth(masks.flatten(1).gather(1, order)).to(errors)
    return (errors.relu() * weights).sum(1)


def _growth(truth: Bool[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Increase of the Jaccard loss with each additional wrong pixel, in the given order."""
    found = truth.double()  # single precision cannot resolve the differences of adjacent values
    total = found.sum(1, keepdim=True)
    kept = total - found.cumsum(1)
    union = total + (1 - found).cumsum(1)
    loss = 1 - kept / union
    return torch.diff(loss, dim=1, prepend=torch.zeros_like(total))
