"""The training loss, a function of logits and masks."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor
from torch.nn import functional as F

from palpate.structure_loss import structure_loss
from palpate.training.settings import LossName, TrainingSettings


class Criterion(Protocol):
    """A loss of logits ``(b, maps, h, w)`` and masks ``(b, 1, h, w)``, both float32."""

    def __call__(self, logits: Tensor, masks: Tensor, ignored: Tensor | None = None, /) -> Tensor:
        """Return a scalar; ``ignored`` pixels ``(b, 1, h, w)`` do not count, nor in its means."""
        ...


def criterion_of(settings: TrainingSettings) -> Criterion:
    """Create the loss function selected in the settings, summed over all maps (deep supervision).

    At ignored pixels the logits must be those of sure background, see
    :func:`palpate.prompting.without_ignored`, and the masks background.
    """
    loss = _LOSSES[settings.loss](settings)

    def supervised(logits: Tensor, masks: Tensor, ignored: Tensor | None = None) -> Tensor:
        first, *others = (loss(each[:, None], masks, ignored) for each in logits.unbind(1))
        return sum(others, start=first)

    return supervised


def _structure(settings: TrainingSettings) -> Criterion:
    del settings  # its parts have equal weights

    def criterion(logits: Tensor, masks: Tensor, ignored: Tensor | None = None) -> Tensor:
        return structure_loss(logits, masks, ignored).mean()

    return criterion


def _dice_and_cross_entropy(settings: TrainingSettings) -> Criterion:
    from monai.losses.dice import DiceCELoss  # takes seconds to import

    both = DiceCELoss(sigmoid=True, lambda_dice=settings.dice_weight, lambda_ce=settings.bce_weight)

    def criterion(logits: Tensor, masks: Tensor, ignored: Tensor | None = None) -> Tensor:
        loss: Tensor = both(logits, masks)
        if ignored is None:
            return loss
        # The cross-entropy is a mean over all pixels, and ignored ones add nothing to its sum.
        more = ignored.numel() / (~ignored).sum().clamp_min(1) - 1
        return loss + settings.bce_weight * more * F.binary_cross_entropy_with_logits(logits, masks)

    return criterion


def _published(settings: TrainingSettings) -> Criterion:
    """The loss of VLSM-Adapter and of the attack study: the sigmoid is applied twice."""
    from monai.losses.dice import DiceCELoss, DiceLoss

    # It takes probabilities for the Dice loss, and the same values as logits for the cross-entropy.
    both = DiceCELoss(
        sigmoid=False, lambda_dice=settings.dice_weight, lambda_ce=settings.bce_weight
    )
    dice = DiceLoss()

    def criterion(logits: Tensor, masks: Tensor, ignored: Tensor | None = None) -> Tensor:
        found = logits.sigmoid()
        if ignored is None:
            loss: Tensor = both(found, masks)
            return loss
        # A pixel of sure background adds log 2 to the sum of this cross-entropy.
        pixels = F.binary_cross_entropy_with_logits(found, masks, reduction="none")
        entropy = pixels.masked_fill(ignored, 0).sum() / (~ignored).sum().clamp_min(1)
        overlap: Tensor = dice(found, masks)
        return settings.dice_weight * overlap + settings.bce_weight * entropy

    return criterion


_LOSSES: dict[LossName, Callable[[TrainingSettings], Criterion]] = {
    "dice_bce": _dice_and_cross_entropy,
    "structure": _structure,
    "published": _published,
}
