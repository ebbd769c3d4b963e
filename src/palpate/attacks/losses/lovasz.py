"""The Lovász hinge: a convex loss that is exact for the Jaccard index of hard predictions."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palpate.attacks.losses._pixels import margins
from palpate.types import Logits, Masks, PerImage


def lovasz_hinge(logits: Logits, masks: Masks) -> PerImage:
    """Lovász hinge (Berman et al., 2018, https://arxiv.org/abs/1705.08790), per image.

    The hinge errors ``1 - margin`` of the pixels in falling order, each weighted by what the
    Jaccard loss grows when that pixel goes wrong too. Pixels that are right by more than one
    logit have no gradient: on a confident model this loss alone finds nothing to do.
    """
    return hinge(margins(logits, masks), masks)


def hinge(right: Logits, masks: Masks) -> PerImage:
    """The same from margins, whatever they are made of."""
    errors, order = (1 - right).flatten(1).sort(dim=1, descending=True)
    weights = _growth(masks.flatten(1).gather(1, order)).to(errors)
    return (errors.relu() * weights).sum(1)


def _growth(truth: Bool[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Growth of the Jaccard loss with each further wrong pixel, in the order given."""
    found = truth.double()  # neighbouring values differ by less than single precision holds
    total = found.sum(1, keepdim=True)
    kept = total - found.cumsum(1)
    union = total + (1 - found).cumsum(1)
    loss = 1 - kept / union
    return torch.diff(loss, dim=1, prepend=torch.zeros_like(total))
