"""Learning rate and end of a training: warm-up and cosine decay, or by the validation.

What depends on the validation is computed anew from the metrics of the finished epochs, so that a
resumed training continues in the same way.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from palpate.training.settings import TrainingSettings

VALIDATION_LOSS = "validation_loss"
_History = Sequence[Mapping[str, Any]]


def learning_rate(epoch: int, step: int, steps: int, settings: TrainingSettings) -> float:
    """Learning rate of a training step.

    Args:
        epoch: Index of the epoch, from 0.
        step: Index of the step in its epoch, from 0.
        steps: Steps per epoch.
        settings: Peak and final learning rate, warm-up, and whether the rate changes per step or
            per epoch.
    """
    # Per step, count from 1: at time 0 the rate is 0, so the first step would be wasted. Per epoch,
    # the first epoch does have rate 0, as in the published code.
    at = float(epoch) if settings.schedule == "epoch" else epoch + (step + 1) / steps
    factor = warmup_cosine(
        at, settings.warmup_epochs, settings.epochs, settings.final_learning_rate
    )
    return settings.learning_rate * factor


def rate_on_plateau(history: _History, settings: TrainingSettings) -> float:
    """Learning rate of the next epoch with PyTorch's ``ReduceLROnPlateau`` on the validation loss.

    Args:
        history: Metrics of the finished epochs.
        settings: Peak learning rate, patience and factor.
    """
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=settings.learning_rate)
    scheduler = ReduceLROnPlateau(
        optimizer, factor=settings.plateau_factor, patience=settings.plateau_patience
    )
    for row in history:
        if VALIDATION_LOSS in row:
            scheduler.step(row[VALIDATION_LOSS])
    return float(optimizer.param_groups[0]["lr"])


def is_over(history: _History, judged_by: str, settings: TrainingSettings) -> bool:
    """Whether early stopping ends the training, as in Lightning's ``EarlyStopping``.

    Args:
        history: Metrics of the finished epochs.
        judged_by: Name of the score; higher is better.
        settings: Patience, smallest increase, and smallest number of epochs.
    """
    if not settings.early_stopping or len(history) < settings.min_epochs:
        return False
    best, waited = -math.inf, 0
    for score in (row[judged_by] for row in history if judged_by in row):
        better = score - settings.early_stopping_delta > best
        best, waited = (score, 0) if better else (best, waited + 1)
        if waited >= settings.early_stopping:
            return True
    return False


def warmup_cosine(
    at: int | float, warmup: int | float, total: int | float, floor: int | float = 0.01
) -> float:
    """Learning-rate factor, relative to the peak, of linear warm-up and cosine decay.

    Args:
        at: Time since the start, in any unit (steps or epochs).
        warmup: Duration of the warm-up, in the same unit. The factor rises from 0 to 1.
        total: Duration of warm-up and cosine decay together, in the same unit.
        floor: Factor at the end of the cosine decay.

    Returns:
        The factor, from 0 to 1.

    >>> warmup_cosine(0, 20, 200), warmup_cosine(20, 20, 200), round(warmup_cosine(199, 20, 200), 6)
    (0.0, 1.0, 0.010075)
    """
    if at < warmup:
        return at / warmup
    done = (at - warmup) / max(total - warmup, 1e-12)  # total may equal warmup
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
