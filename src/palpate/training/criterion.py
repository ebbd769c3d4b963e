"""The training loss, a function of logits and masks."""

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from palpate.structure_loss import structure_loss
from palpate.training.settings import TrainingSettings

Criterion: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def criterion_of(settings: TrainingSettings) -> Criterion:
    """Create the loss function selected in the settings, summed over all maps (deep supervision).

    Returns:
        A function of logits ``(b, maps, h, w)`` and masks ``(b, 1, h, w)``, both float32, that
        returns a scalar tensor.
    """
    loss = _structure if settings.loss == "structure" else _dice_and_cross_entropy(settings)

    def supervised(logits: Tensor, masks: Tensor) -> Tensor:
        first, *others = (loss(each[:, None], masks) for each in logits.unbind(1))
        return sum(others, start=first)

    return supervised


def _structure(logits: Tensor, masks: Tensor) -> Tensor:
    return structure_loss(logits, masks).mean()


def _dice_and_cross_entropy(settings: TrainingSettings) -> Criterion:
    from monai.losses.dice import DiceCELoss  # takes seconds to import

    criterion: Criterion = DiceCELoss(
        sigmoid=True, lambda_dice=settings.dice_weight, lambda_ce=settings.bce_weight
    )
    return criterion
