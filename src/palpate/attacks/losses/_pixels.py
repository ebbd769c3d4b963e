"""What most losses are made of: one number per pixel, and the mean of each image."""

from torch import Tensor

from palpate.types import Logits, Masks, PerImage


def margins(logits: Logits, masks: Masks) -> Logits:
    """How far each pixel is on the side of its mask: the logit, negated on the background.

    A pixel is right where its margin is positive. The sigmoid of the margin is the probability
    that the model gives to the truth.
    """
    return logits * (2 * masks.to(logits) - 1)


def mean(pixels: Tensor) -> PerImage:
    """Mean over the pixels of each image."""
    return pixels.flatten(1).mean(1)
