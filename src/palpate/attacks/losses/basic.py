"""The four plain losses: cross-entropy, Dice, their sum, and the margin."""

from torch.nn import functional as F

from palpate.types import Logits, Masks, PerImage


def bce(logits: Logits, masks: Masks) -> PerImage:
    """Binary cross-entropy, mean over the pixels of each image.

    It never stops pushing a pixel that is already wrong, and each pixel counts the same: where
    the lesion is 1 % of the image, so is its say.
    """
    pixels = F.binary_cross_entropy_with_logits(logits, masks.to(logits), reduction="none")
    return pixels.flatten(1).mean(1)


def dice(logits: Logits, masks: Masks) -> PerImage:
    """One minus the Dice score of the predicted probabilities, per image, in [0, 1].

    One pixel is added to both sides of the fraction, so that an image without a lesion has a
    gradient too. The gradient fades where probabilities saturate: alone, this loss can make a
    confident model look robust.
    """
    return 1 - soft_dice(logits, masks)


def bce_dice(logits: Logits, masks: Masks) -> PerImage:
    r"""Binary cross-entropy plus soft Dice, both of weight 1, per image.

    The two cover for each other. A foreground pixel of a lesion of :math:`n` out of :math:`N`
    pixels moves the Dice term by about :math:`p(1-p)/n` and the cross-entropy by
    :math:`(1-p)/N`: Dice leads while pixels are undecided, however small the lesion; once
    pixels saturate on the wrong side only the cross-entropy still has a gradient. Between them
    the ratio :math:`N/n` sets the weight, so there is nothing left to tune per dataset.
    """
    return bce(logits, masks) + dice(logits, masks)


def margin(logits: Logits, masks: Masks) -> PerImage:
    """Signed logit towards the wrong side, mean over the pixels of each image.

    Linear in the logits, hence blind to saturation of the sigmoid: an attack that only works
    with this loss has found a model that hides its gradient.
    """
    return (logits * (1 - 2 * masks.to(logits))).flatten(1).mean(1)


def soft_dice(logits: Logits, masks: Masks) -> PerImage:
    """Dice score of the predicted probabilities, one pixel added on both sides: never 0."""
    probabilities, truth = logits.sigmoid().flatten(1), masks.to(logits).flatten(1)
    overlap = (probabilities * truth).sum(1)
    return (2 * overlap + 1) / (probabilities.sum(1) + truth.sum(1) + 1)
