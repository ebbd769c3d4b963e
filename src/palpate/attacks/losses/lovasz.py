"""The Lovász hinge: a convex surrogate of the Jaccard index of binary predictions."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palpate.attacks.losses._pixels import margins
from palpate.types import Logits, Masks, PerImage


def lovasz_hinge(logits: Logits, masks: Masks) -> PerImage:
    """Lovász hinge (Berman et al., 2018, https://arxiv.org/abs/1705.08790), per image.

    The hinge errors ``1 - margin`` of the pixels in descending order, each weighted by the growth
    of the Jaccard loss when that pixel becomes wrong too. Pixels with a margin above 1 have no
    gradient, so on a confident model this loss alone may have no gradient at all.
    """
    return hinge(margins(logits, masks), masks)


def hinge(right: Logits, masks: Masks) -> PerImage:
    """The Lovász hinge of given margins; ``right`` is positive where a pixel is correct."""
    errors, order = (1 - right).flatten(1).sort(dim=1, descending=True)
    weights = _growth(masks.flatten(1).gather(1, order)).to(errors)
    return (errors.relu() * weights).sum(1)


def _growth(truth: Bool[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Growth of the Jaccard loss with each additional wrong pixel, in the given order."""
    found = truth.double()  # single precision cannot resolve the difference of neighbouring values
    total = found.sum(1, keepdim=True)
    kept = total - found.cumsum(1)
    union = total + (1 - found).cumsum(1)
    loss = 1 - kept / union
    return torch.diff(loss, dim=1, prepend=torch.zeros_like(total))
