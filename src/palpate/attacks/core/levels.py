"""Rounding to equally spaced pixel values, for attacks without the lattice threat model."""

import torch

from palpate.geometry import norms
from palpate.types import Images, Norm

_SLACK = 1e-4  # in levels: in floating point 8 / 255 * 255 may be less than 8
_ROUNDING = 1e-6  # relative tolerance of the radius


def check_levels(levels: int | None) -> None:
    """Raise ``ValueError`` unless ``levels`` is at least 2, or None for no rounding."""
    if levels is not None and levels < 2:
        raise ValueError(f"Expected levels >= 2 or None, got {levels}; 8-bit images have 256.")


def rounded(images: Images, levels: int | None) -> Images:
    """Images rounded to ``levels`` equally spaced values in [0, 1]; None does not round."""
    return images if levels is None else (images * (levels - 1)).round() / (levels - 1)


def shortened(
    images: Images, adversarial: Images, epsilon: float, norm: Norm, levels: int | None
) -> Images:
    """Round perturbed images towards the clean ones, so that they remain in the ball.

    If the values of a clean image are not on the levels, a small ball may contain no image on the
    levels; then the clean image is returned.

    Args:
        images: Clean images.
        adversarial: Perturbed images in the ball and in [0, 1].
        epsilon: Radius of the ball, in units of pixel value.
        norm: Norm of the ball.
        levels: Number of values a pixel may take; None does not round.
    """
    if levels is None:
        return adversarial
    steps = (adversarial - images) * (levels - 1)
    # Rounding down the size of a step cannot increase the norm.
    whole = steps.sign() * (steps.abs() + _SLACK).floor()
    stored = rounded(images + whole / (levels - 1), levels)
    inside = norms(stored - images, norm) <= epsilon * (1 + _ROUNDING)
    return torch.where(inside.view(-1, 1, 1, 1), stored, images)
