"""The four basic losses: cross-entropy, Dice, their sum, and the margin."""

from torch.nn import functional as F

from palpate.types import Logits, Masks, PerImage


def bce(logits: Logits, masks: Masks) -> PerImage:
    """Binary cross-entropy, mean over the pixels of each image.

    Pixels that are already wrong keep a large gradient. All pixels have the same weight, so a
    lesion that covers 1 % of the image has 1 % of the weight.

    Args:
        logits: Logits of shape ``(b, 1, h, w)``; above 0 means foreground.
        masks: Bool masks of the same shape.

    Returns:
        Values of shape ``(b,)``, at least 0.
    """
    pixels = F.binary_cross_entropy_with_logits(logits, masks.to(logits), reduction="none")
    return pixels.flatten(1).mean(1)


def dice(logits: Logits, masks: Masks) -> PerImage:
    """One minus the Dice score of the predicted probabilities, per image, in [0, 1].

    One pixel is added to numerator and denominator, so that images without a lesion also have a
    gradient. The gradient vanishes where probabilities saturate, so with this loss alone a
    confident model can seem robust.

    Args:
        logits: Logits of shape ``(b, 1, h, w)``; above 0 means foreground.
        masks: Bool masks of the same shape.

    Returns:
        Values of shape ``(b,)``.
    """
    return 1 - soft_dice(logits, masks)


def bce_dice(logits: Logits, masks: Masks) -> PerImage:
    r"""Binary cross-entropy plus Dice loss, both with weight 1, per image.

    The two losses complement each other. A foreground pixel of a lesion of :math:`n` out of
    :math:`N` pixels changes the Dice term by about :math:`p(1-p)/n` and the cross-entropy by
    :math:`(1-p)/N`. The Dice term dominates while pixels are undecided, however small the lesion;
    when pixels saturate on the wrong side, only the cross-entropy has a gradient. Their relative
    weight follows from the ratio :math:`N/n`, so it need not be tuned for a data set.

    Args:
        logits: Logits of shape ``(b, 1, h, w)``; above 0 means foreground.
        masks: Bool masks of the same shape.

    Returns:
        Values of shape ``(b,)``, at least 0.
    """
    return bce(logits, masks) + dice(logits, masks)


def margin(logits: Logits, masks: Masks) -> PerImage:
    """Mean logit of the wrong class: negated on the foreground, unchanged on the background.

    It is linear in the logits, so saturation of the sigmoid does not affect it. If an attack works
    only with this loss, the model masks its gradient.

    Args:
        logits: Logits of shape ``(b, 1, h, w)``; above 0 means foreground.
        masks: Bool masks of the same shape.

    Returns:
        Values of shape ``(b,)``, in the units of the logits.
    """
    return (logits * (1 - 2 * masks.to(logits))).flatten(1).mean(1)


def soft_dice(logits: Logits, masks: Masks) -> PerImage:
    """Dice score of the predicted probabilities, in (0, 1].

    One pixel is added to numerator and denominator, so that it is never 0.
    """
    probabilities, truth = logits.sigmoid().flatten(1), masks.to(logits).flatten(1)
    overlap = (probabilities * truth).sum(1)
    return (2 * overlap + 1) / (probabilities.sum(1) + truth.sum(1) + 1)
