"""The shortest perturbation of a linear pixel classifier, by trying every number of pixels.

Turning a pixel costs its distance from the threshold over the dual norm of the weights, and no
pixel's cost depends on another: so for each number of foreground and of background pixels the
cheapest ones are best, and of all pairs of numbers that reach the goal the cheapest is.
"""

from itertools import accumulate, product

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d


class Centred(nn.Module):
    """A pixel classifier that finds about half of every image."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.model = model
        self.middle = model(images).detach().flatten(1).median(1).values.mean()

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images) - self.middle


class Bent(Centred):
    """The same with a look at the neighbourhood: no longer linear, and nowhere flat."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits + torch.tanh(avg_pool2d(logits, 3, stride=1, padding=1))


def nearly(predictions: Tensor) -> Tensor:
    """Masks that a prediction gets right but for every eleventh pixel."""
    wrong = torch.arange(predictions[0].numel()).view(predictions.shape[1:]) % 11 == 0
    return predictions ^ wrong


def shortest(logits: Tensor, masks: Tensor, weights: Tensor, *, tau, norm, targeted=False):
    """Norm of the shortest perturbation of each image that takes its Dice score to ``tau``."""
    dual = weights.norm() if norm == "l2" else weights.abs().sum()
    costs = (logits.detach().abs() / dual).double()
    return torch.tensor(
        [
            _shortest(z.flatten() > 0, c.flatten(), m.flatten(), tau, norm, targeted)
            for z, c, m in zip(logits, costs, masks, strict=True)
        ]
    )


def _shortest(found, costs, mask, tau, norm, targeted):
    turned = found == mask if targeted else found != mask
    inside = _prices(costs[mask & ~turned], norm)
    outside = _prices(costs[~mask & ~turned], norm)
    have_inside, have_outside = int((turned & mask).sum()), int((turned & ~mask).sum())
    best = float("inf")
    for i, o in product(range(len(inside)), range(len(outside))):
        a, b = have_inside + i, have_outside + o
        if targeted:
            tp, wrong = a, int(mask.sum()) - a + int((~mask).sum()) - b
        else:
            tp, wrong = int(mask.sum()) - a, a + b
        dice = 2 * tp / (2 * tp + wrong) if tp + wrong else 1.0
        if dice >= tau if targeted else dice <= tau:
            both = (inside[i] + outside[o]) ** 0.5 if norm == "l2" else max(inside[i], outside[o])
            best = min(best, both)
    return best


def _prices(costs, norm):
    """What turning the 0, 1, 2, ... cheapest costs: sum of squares, or the largest."""
    rising = costs.sort().values.tolist()
    if norm == "l2":
        return [0.0, *accumulate(c * c for c in rising)]
    return [0.0, *rising]
