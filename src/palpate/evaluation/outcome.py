"""Success of an attack, and the failure mode of a segmentation."""

from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from palpate.types import PerImage

FailureMode: TypeAlias = Literal["none", "vanished", "hallucinated", "shifted"]

FACTOR = 2  # an area that shrinks or grows by this factor has vanished or is hallucinated


def success(dice_clean: PerImage, dice: PerImage, tau: float = 0.5) -> Bool[Tensor, " b"]:
    """Whether each attack lowered the DSC from above ``tau`` to ``tau`` or below.

    An image at or below ``tau`` before the attack never counts as a success; success rates are
    computed over the other images.

    >>> clean = torch.tensor([0.9, 0.9, 0.2])
    >>> success(clean, torch.tensor([0.5, 0.6, 0.0]))
    tensor([ True, False, False])
    """
    _require_dice(dice_clean, tau)
    _require_dice(dice, tau)
    return (dice_clean > tau) & (dice <= tau)


def failure_mode(
    dice: PerImage,
    area: Int64[Tensor, " b"],
    mask_area: Int64[Tensor, " b"] | Float[Tensor, " b"],
    tau: float = 0.5,
) -> list[FailureMode]:
    """Failure mode of each segmentation; every image has exactly one.

    - ``"none"``: no failure, DSC > ``tau``;
    - ``"vanished"``: the predicted area is at most half of the true one;
    - ``"hallucinated"``: the predicted area is at least twice the true one, or the true one is
      empty;
    - ``"shifted"``: the area is about right, but in the wrong place.

    Args:
        dice: DSC of the prediction, in [0, 1].
        area: Number of pixels predicted as foreground.
        mask_area: Number of foreground pixels in the ground truth used for the DSC, or the sum of
            its values if it has grey values.
        tau: DSC at or below which a segmentation counts as failed, in [0, 1).

    >>> failure_mode(torch.tensor([0.0, 0.0]), torch.tensor([0, 7]), torch.tensor([9, 0]))
    ['vanished', 'hallucinated']
    """
    _require_dice(dice, tau)
    _require_possible(dice, area, mask_area)
    modes: tuple[FailureMode, ...] = ("none", "vanished", "hallucinated", "shifted")
    failed = torch.where(
        FACTOR * area <= mask_area, 1, torch.where(area >= FACTOR * mask_area, 2, 3)
    )
    return [modes[index] for index in torch.where(dice > tau, 0, failed).tolist()]


def _require_dice(dice: Tensor, tau: float) -> None:
    if not 0 <= tau < 1:
        raise ValueError(f"Expected 0 <= tau < 1, got {tau}.")
    if not ((dice >= 0) & (dice <= 1)).all():  # NaN would compare as "did not fail"
        raise ValueError(f"Expected DSC in [0, 1], got {dice.tolist()}.")


def _require_possible(dice: Tensor, area: Tensor, mask_area: Tensor) -> None:
    impossible = (area == 0) & (mask_area == 0) & (dice < 1)
    if impossible.any():
        where = impossible.nonzero().flatten().tolist()
        raise ValueError(
            f"Expected DSC 1 where nothing is and nothing predicted, not so at {where}."
        )
