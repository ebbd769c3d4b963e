"""Linear warm-up, then a cosine down to a floor."""

import math


def warmup_cosine(
    at: int | float, warmup: int | float, total: int | float, floor: int | float = 0.01
) -> float:
    """The factor of the peak learning rate at a time, in whatever unit (steps or epochs).

    Args:
        at: The time, from 0.
        warmup: Length of the warm-up. At time 0 its factor is 0.
        total: Length of everything.
        floor: What the cosine ends on.

    >>> warmup_cosine(0, 20, 200), warmup_cosine(20, 20, 200), round(warmup_cosine(199, 20, 200), 6)
    (0.0, 1.0, 0.010075)
    """
    if at < warmup:
        return at / warmup
    done = (at - warmup) / max(total - warmup, 1e-12)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
