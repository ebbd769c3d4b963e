"""How many images would decide whether a mean reaches a threshold."""

from bisect import bisect_left
from math import ceil, isfinite

import numpy as np
from scipy.special import ndtri

from palpate.evaluation.statistics.intervals import EXTRA, SHARE, Range, reached
from palpate.evaluation.statistics.samples import Groups, finite, gather

_MOST_GROUPS = 1_000_000  # beyond that no number of images is named
_POWER = 0.8  # probability with which the number of images that is named decides


def images_to_decide(
    values: object,
    threshold: float,
    groups: Groups = None,
    confidence: float = 0.95,
    limits: Range = SHARE,
    *,
    far_limits: bool = False,
) -> int | None:
    """Number of images with which the interval of the mean would probably exclude a threshold.

    It assumes that mean, spread and images per group stay what they are; the interval of such a
    sample then excludes the threshold with a probability of 80 %.

    Returns:
        The number of images; None if there is one group only, or the number is above a million
        groups, as for a mean at the threshold.
    """
    array = finite(values, "values")
    clusters = gather(array, groups)
    count = len(clusters.sums)
    if count < 2:
        return None
    mean = float(clusters.sums.sum() / clusters.sizes.sum())
    apart = (clusters.sums - mean * clusters.sizes) / clusters.sizes.mean()
    spread = float(np.sqrt((apart**2).sum() / (count - 1)))
    skew = float((apart**3).mean())
    side = 0 if mean >= threshold else 1
    is_share = limits == SHARE and not far_limits and bool(np.isin(array, SHARE).all())
    extra = 1.0 if is_share else EXTRA
    far_limits = far_limits or not isfinite(sum(limits))

    def decides(number: int) -> bool:
        further = reached(mean, spread, number, limits, far_limits)[side] - mean
        bound = _bound(number, spread, skew, extra, float(further), confidence)
        chance = ndtri(_POWER) * spread / np.sqrt(number)
        return bool(abs(mean - threshold) >= bound + chance)

    if not decides(_MOST_GROUPS):
        return None
    needed = bisect_left(range(count + 1, _MOST_GROUPS), True, key=decides) + count + 1
    return ceil(needed * len(array) / count)


def _bound(
    number: int, spread: float, skew: float, extra: float, further: float, confidence: float
) -> float:
    """Distance of a bound from the mean of a sample, by the expansion of Cornish and Fisher.

    A weighted mean with weights of a Dirichlet distribution has the moments of the weighted values,
    divided by powers of their number.

    Args:
        number: Number of groups.
        spread: Their standard deviation.
        skew: Their third central moment.
        extra: Weight of the extra observation.
        further: Its value, less the mean.
        confidence: Confidence level, in (0, 1).
    """
    total = number + extra
    rest, weight = number / total, extra / total
    shift = weight * further
    variance = rest * (spread**2 + shift**2) + weight * (further - shift) ** 2
    third = rest * (skew - 3 * spread**2 * shift - shift**3) + weight * (further - shift) ** 3
    error = np.sqrt(variance / (total + 1))
    skewness = 2 * third / ((total + 1) * (total + 2)) / error**3 * np.sign(further)
    z = ndtri((1 + confidence) / 2)
    return float(abs(shift) + error * (z + skewness * (z**2 - 1) / 6))
