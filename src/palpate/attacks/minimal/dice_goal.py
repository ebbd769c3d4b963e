r"""When an attack for the smallest perturbation has done enough, and which pixels that takes.

Counted in pixels, a Dice score of ``tau`` is a sum. With ``tp`` foreground pixels still right and
``wrong`` pixels on either side,

.. math:: DSC \le \tau \iff 2 (1 - \tau) \, tp \le \tau \cdot wrong,

so every foreground pixel that turns is worth :math:`2 - \tau`, every background pixel
:math:`\tau`, and the goal is reached once the turned ones are worth a quota.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from palpate.overlap import count, dice
from palpate.types import Logits, Masks, Norm, PerImage

_ROOM = 0.02  # beyond the threshold, in units of the image: nearer, rounding may undo a success


@dataclass(frozen=True)
class Goal:
    """A Dice score to push an image down to; with ``targeted``, to lift it up to.

    Raises:
        ValueError: If every image, or none, would meet it.
    """

    tau: float
    targeted: bool
    threshold: float

    def __post_init__(self) -> None:
        fine = 0 < self.tau <= 1 if self.targeted else 0 <= self.tau < 1
        if not fine:
            range_ = "0 < tau <= 1 for a targeted attack" if self.targeted else "0 <= tau < 1"
            raise ValueError(f"Expected {range_}, a Dice score to be reached, got {self.tau}.")

    def __str__(self) -> str:
        return f"to {self.tau:g} or {'above' if self.targeted else 'below'}"

    def is_reached(self, logits: Logits, masks: Masks) -> Bool[Tensor, " b"]:
        """Whether the Dice score of these predictions is what the attacker wants."""
        scores = dice(count(logits > self.threshold, masks))
        return scores >= self.tau if self.targeted else scores <= self.tau

    def shortfall(self, logits: Logits, masks: Masks) -> Logits:
        """How far each pixel is from the attacker's side, in units of the image's mean logit.

        Negative where it is there already. The unit, the root of the mean square over the image,
        is taken as a constant: scaling a model's logits changes nothing.
        """
        lifted = logits - self.threshold
        wanted = masks if self.targeted else ~masks
        unit = lifted.detach().flatten(1).square().mean(1).sqrt()
        unit = unit.clamp_min(torch.finfo(lifted.dtype).tiny).view(-1, 1, 1, 1)
        return torch.where(wanted, -lifted, lifted) / unit

    def cheapest(self, shortfall: Logits, masks: Masks, norm: Norm) -> Masks:
        """The pixels that reach the goal at the least cost, if cost is what they fall short.

        In L-infinity turning one pixel pays for all that need no more, so the order is that of
        the shortfall; in L2 squares add up, so it is that of squared shortfall per worth.
        """
        worth, quota = self._worth(masks)
        price = shortfall.detach().flatten(1).double()
        if norm == "l2":
            price = price / worth.sqrt().clamp_min(1e-6)
        # Among equal prices the pixels worth most come first: in any other order the quota may be
        # met with a pixel to spare. A stable sort by price keeps the order that worth has made.
        by_worth = worth.argsort(dim=1, descending=True, stable=True)
        order = by_worth.gather(1, price.gather(1, by_worth).argsort(dim=1, stable=True))
        sorted_worth = worth.gather(1, order)
        # Rounded sums must not take in a pixel more than it takes.
        lacking = sorted_worth.cumsum(1) - sorted_worth < quota[:, None] * (1 - 1e-9)
        lacking &= sorted_worth > 0  # at a Dice score of 0 background pixels are worth nothing
        return torch.zeros_like(lacking).scatter(1, order, lacking).view_as(masks)

    def pull(self, logits: Logits, masks: Masks, norm: Norm) -> PerImage:
        """What to maximise to reach the goal at the least cost.

        Minus the sum of squares by which the cheapest pixels fall short: on a linear model its
        gradient points straight at the nearest success in L2. Flat where the goal is reached
        with a little room.
        """
        short = self.shortfall(logits, masks)
        chosen = self.cheapest(short, masks, norm)
        return -((short + _ROOM).relu().square() * chosen).flatten(1).sum(1)

    def _worth(self, masks: Masks) -> tuple[Float64[Tensor, "b p"], Float64[Tensor, " b"]]:
        """What each pixel adds to the goal once it is the attacker's, and what is needed."""
        inside = masks.flatten(1)
        worth = self.tau + (2 - 2 * self.tau) * inside.double()
        area = inside.sum(1).double()
        if self.targeted:
            return worth, torch.full_like(area, self.tau * inside.shape[1])
        # Where nothing is to be found a single pixel is a Dice score of 0.
        nothing = area == 0
        return torch.where(nothing[:, None], 1.0, worth), torch.where(
            nothing, 1.0, 2 * (1 - self.tau) * area
        )
