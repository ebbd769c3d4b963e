"""The learning-rate schedule: linear warm-up, then a cosine down to a floor."""

import math

from palpate.training.settings import TrainingSettings


def learning_rate(epoch: int, step: int, steps: int, settings: TrainingSettings) -> float:
    """Learning rate of one step.

    Args:
        epoch: Epoch, from 0.
        step: Step of the epoch, from 0.
        steps: Steps per epoch.
        settings: Peak, warm-up, floor, and whether the rate changes by step or by epoch.
    """
    # Step 0 counts as one step into the warm-up: at time 0 the rate is 0 and nothing would be
    # learned. By epochs the first one does have rate 0, as published.
    at = float(epoch) if settings.schedule == "epoch" else epoch + (step + 1) / steps
    factor = warmup_cosine(
        at, settings.warmup_epochs, settings.epochs, settings.final_learning_rate
    )
    return settings.learning_rate * factor


def warmup_cosine(
    at: int | float, warmup: int | float, total: int | float, floor: int | float = 0.01
) -> float:
    """The factor of the peak learning rate at a time.

    Args:
        at: The time, from 0, in any unit (steps or epochs); the same for the others.
        warmup: Length of the warm-up. At time 0 its factor is 0.
        total: Length of warm-up and cosine together.
        floor: Factor at the end of the cosine.

    >>> warmup_cosine(0, 20, 200), warmup_cosine(20, 20, 200), round(warmup_cosine(199, 20, 200), 6)
    (0.0, 1.0, 0.010075)
    """
    if at < warmup:
        return at / warmup
    done = (at - warmup) / max(total - warmup, 1e-12)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
