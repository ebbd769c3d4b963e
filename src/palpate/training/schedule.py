"""The learning-rate schedule: linear warm-up, then cosine decay to a minimum."""

import math

from palpate.training.settings import TrainingSettings


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
