"""Values that a file can hold, for attacks that find their own way among all others."""

import torch

from palpate.geometry import norms
from palpate.types import Images, Norm

_SLACK = 1e-4  # of a level: 8 / 255 * 255 may fall short of 8
_ROUNDING = 1e-6


def check_levels(levels: int | None) -> None:
    """Raise ``ValueError`` unless there are two levels or more, or no rounding at all."""
    if levels is not None and levels < 2:
        raise ValueError(f"Expected levels >= 2 or None, got {levels}; 8-bit images have 256.")


def rounded(images: Images, levels: int | None) -> Images:
    """Images of the nearest of so many values from 0 to 1; None leaves them alone."""
    return images if levels is None else (images * (levels - 1)).round() / (levels - 1)


def shortened(
    images: Images, adversarial: Images, epsilon: float, norm: Norm, levels: int | None
) -> Images:
    """The same for perturbed images, each value towards the clean one; all remain in the ball.

    Clean images that are no such values themselves may have none in a small ball: those stay.

    Args:
        images: Clean.
        adversarial: In the ball and in [0, 1].
        epsilon: Radius of the ball.
        norm: Norm of the ball.
        levels: How many values there are; None leaves all as it is.
    """
    if levels is None:
        return adversarial
    steps = (adversarial - images) * (levels - 1)
    whole = steps.sign() * (steps.abs() + _SLACK).floor()
    stored = rounded(images + whole / (levels - 1), levels)
    inside = norms(stored - images, norm) <= epsilon * (1 + _ROUNDING)
    return torch.where(inside.view(-1, 1, 1, 1), stored, images)
