"""The training loss, a function of logits and masks."""

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from palpate.structure_loss import structure_loss
from palpate.training.settings import LossName, TrainingSettings

Criterion: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def criterion_of(settings: TrainingSettings) -> Criterion:
    """Create the loss function selected in the settings, summed over all maps (deep supervision).

    Returns:
        A function of logits ``(b, maps, h, w)`` and masks ``(b, 1, h, w)``, both float32, that
        returns a scalar tensor.
    """
    loss = _LOSSES[settings.loss](settings)

    def supervised(logits: Tensor, masks: Tensor) -> Tensor:
        first, *others = (loss(each[:, None], masks) for each in logits.unbind(1))
        return sum(others, start=first)

    return supervised


def _structure(settings: TrainingSettings) -> Criterion:
    del settings  # its parts have equal weights

    def loss(logits: Tensor, masks: Tensor) -> Tensor:
        return structure_loss(logits, masks).mean()

    return loss


def _dice_and_cross_entropy(settings: TrainingSettings) -> Criterion:
    from monai.losses.dice import DiceCELoss  # takes seconds to import

    criterion: Criterion = DiceCELoss(
        sigmoid=True, lambda_dice=settings.dice_weight, lambda_ce=settings.bce_weight
    )
    return criterion


def _published(settings: TrainingSettings) -> Criterion:
    """The loss of VLSM-Adapter and of the attack study: the sigmoid is applied twice."""
    from monai.losses.dice import DiceCELoss

    # It takes probabilities for the Dice loss, and the same values as logits for the cross-entropy.
    loss = DiceCELoss(
        sigmoid=False, lambda_dice=settings.dice_weight, lambda_ce=settings.bce_weight
    )

    def criterion(logits: Tensor, masks: Tensor) -> Tensor:
        value: Tensor = loss(logits.sigmoid(), masks)
        return value

    return criterion


_LOSSES: dict[LossName, Callable[[TrainingSettings], Criterion]] = {
    "dice_bce": _dice_and_cross_entropy,
    "structure": _structure,
    "published": _published,
}
