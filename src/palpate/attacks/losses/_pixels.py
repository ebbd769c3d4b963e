"""Functions shared by most losses: the margin of each pixel, and the mean over each image."""

from torch import Tensor

from palpate.types import Logits, Masks, PerImage


def margins(logits: Logits, masks: Masks) -> Logits:
    """The margin of each pixel: its logit on the foreground, the negative logit on the background.

    A pixel is correct if its margin is positive. The sigmoid of the margin is the probability that
    the model assigns to the true class.
    """
    return logits * (2 * masks.to(logits) - 1)


def mean(pixels: Tensor) -> PerImage:
    """Mean over the pixels of each image."""
    return pixels.flatten(1).mean(1)
