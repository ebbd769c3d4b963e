r"""The goal of a minimal-norm attack, a Dice score, and the cheapest pixels that reach it.

The condition on the Dice score is linear in the pixel counts. With ``tp`` correct foreground pixels
and ``wrong`` wrong pixels of both classes,

.. math:: DSC \le \tau \iff 2 (1 - \tau) \, tp \le \tau \cdot wrong.

So each foreground pixel that changes its class contributes :math:`2 - \tau`, each background pixel
:math:`\tau`, and the goal is reached when the sum of these contributions (*worth*) reaches a quota.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from palpate.overlap import count, dice
from palpate.types import Logits, Masks, Norm, PerImage

# Margin beyond the threshold, in the unit of the shortfall, so that rounding undoes no success.
_ROOM = 0.02


@dataclass(frozen=True)
class Goal:
    """The goal of an attack: a Dice score of at most ``tau`` (targeted: at least ``tau``).

    Attributes:
        tau: Dice score that counts as success, in [0, 1).
        targeted: Whether the masks are the target of the attacker; ``tau`` is then in (0, 1].
        threshold: Logits above it are foreground.

    Raises:
        ValueError: If every image, or no image, would meet the goal.
    """

    tau: float
    targeted: bool
    threshold: float

    def __post_init__(self) -> None:
        fine = 0 < self.tau <= 1 if self.targeted else 0 <= self.tau < 1
        if not fine:
            range_ = "0 < tau <= 1 for a targeted attack" if self.targeted else "0 <= tau < 1"
            raise ValueError(f"Expected {range_}, the Dice score to be reached, got {self.tau}.")

    def __str__(self) -> str:
        return f"to {self.tau:g} or {'above' if self.targeted else 'below'}"

    def is_reached(self, logits: Logits, masks: Masks) -> Bool[Tensor, " b"]:
        """Which images have a Dice score that meets the goal."""
        scores = dice(count(logits > self.threshold, masks))
        return scores >= self.tau if self.targeted else scores <= self.tau

    def shortfall(self, logits: Logits, masks: Masks) -> Logits:
        """Distance of each logit from the threshold, positive on the side to be left.

        It is negative for pixels that already have the class the attacker wants. The unit is the
        root mean square of the image's logits, so that the scale of the logits does not matter; no
        gradient flows through the unit.
        """
        lifted = logits - self.threshold
        wanted = masks if self.targeted else ~masks
        unit = lifted.detach().flatten(1).square().mean(1).sqrt()
        unit = unit.clamp_min(torch.finfo(lifted.dtype).tiny).view(-1, 1, 1, 1)
        return torch.where(wanted, -lifted, lifted) / unit

    def cheapest_pixels(self, shortfall: Logits, masks: Masks, norm: Norm) -> Masks:
        """The pixels that reach the goal at the lowest cost, taking the shortfall as the cost.

        In L-infinity, a perturbation that changes one pixel also changes all pixels with a smaller
        shortfall, so pixels are taken in the order of the shortfall. In L2 the squared costs add
        up, so the order is that of the squared shortfall per worth.

        Args:
            shortfall: From :meth:`shortfall`.
            masks: Ground truth, or target.
            norm: Norm of the perturbation.

        Returns:
            Masks of the selected pixels. Each of them is needed to reach the goal.
        """
        worth, quota = self._worth(masks)
        price = shortfall.detach().flatten(1).double()
        if norm == "l2":
            price = price / worth.sqrt().clamp_min(1e-6)
        # Among equal prices, pixels of larger worth come first; otherwise more pixels than
        # necessary may be selected. The stable sort by price keeps this order.
        by_worth = worth.argsort(dim=1, descending=True, stable=True)
        order = by_worth.gather(1, price.gather(1, by_worth).argsort(dim=1, stable=True))
        sorted_worth = worth.gather(1, order)
        # The tolerance keeps a rounded sum from requiring one pixel more.
        lacking = sorted_worth.cumsum(1) - sorted_worth < quota[:, None] * (1 - 1e-9)
        lacking &= sorted_worth > 0  # for a Dice score of 0 background pixels contribute nothing
        return torch.zeros_like(lacking).scatter(1, order, lacking).view_as(masks)

    def negative_shortfall(self, logits: Logits, masks: Masks, norm: Norm) -> PerImage:
        """Minus the sum of squared shortfalls of the cheapest pixels: the loss to maximise.

        For a linear model and ``norm="l2"``, its gradient points to the nearest success. It is 0
        where the goal is reached with a small margin.
        """
        short = self.shortfall(logits, masks)
        chosen = self.cheapest_pixels(short, masks, norm)
        return -((short + _ROOM).relu().square() * chosen).flatten(1).sum(1)

    def _worth(self, masks: Masks) -> tuple[Float64[Tensor, "b p"], Float64[Tensor, " b"]]:
        """The contribution of each pixel to the goal, and the sum that reaches it (the quota)."""
        inside = masks.flatten(1)
        worth = self.tau + (2 - 2 * self.tau) * inside.double()
        area = inside.sum(1).double()
        if self.targeted:
            return worth, torch.full_like(area, self.tau * inside.shape[1])
        # With an empty mask, a single foreground pixel gives a Dice score of 0.
        nothing = area == 0
        return torch.where(nothing[:, None], 1.0, worth), torch.where(
            nothing, 1.0, 2 * (1 - self.tau) * area
        )
