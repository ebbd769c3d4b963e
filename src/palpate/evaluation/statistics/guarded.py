"""Intervals for decisions: of a mean and of a quantile, by group, that hold in small samples.

The percentile bootstrap is too narrow in small samples. With 10 images, of which one in ten fails,
the lower bound of its 95 % interval lies above the true mean DSC in a quarter of all samples, and
values that are all equal get an interval of width zero. Here one more observation is counted: the
lowest possible value for the lower bound, the highest possible one for the upper bound. Student's
interval over independent groups is made of those. Shares of independent images have the exact
binomial interval (Clopper and Pearson, 1934) instead, and the interval of a quantile is made of
intervals of shares. ``tests/evaluation/test_guarded.py`` simulates how often each bound is wrong.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri, stdtrit

from palpate.evaluation.statistics.samples import Array, Clusters, Groups, finite, gather

Range = tuple[float, float]

SHARE: Range = (0.0, 1.0)
_MOST_GROUPS = 1_000_000  # beyond that no number of images is named
_POWER = 0.8  # probability with which the number of images that is named decides


@dataclass(frozen=True)
class Estimate:
    """A mean or quantile of ``n`` values in ``groups`` independent groups, and its interval.

    ``low`` and ``high`` are NaN if there is only one group.
    """

    value: float
    low: float
    high: float
    n: int
    groups: int


def mean_interval(
    values: object, groups: Groups = None, confidence: float = 0.95, limits: Range = SHARE
) -> Estimate:
    """Interval of a mean.

    Args:
        values: One finite score per image.
        groups: Group of each value, such as the patient. None: every value is its own group.
        confidence: Confidence level, in (0, 1).
        limits: Smallest and largest possible value. Where a limit is infinite, the most extreme of
            the values is counted once more instead.

    Raises:
        ValueError: If values are empty or not finite, or the confidence is outside (0, 1).

    >>> found = mean_interval([1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    >>> found.value, round(found.low, 3), found.high
    (1.0, 0.692, 1.0)
    """
    array = finite(values, "values")
    if not 0 < confidence < 1:
        raise ValueError(f"Expected 0 < confidence < 1, got {confidence}; 95 % is 0.95.")
    clusters = gather(array, groups)
    value = float(clusters.sums.sum() / clusters.sizes.sum())
    low, high = _bounds(clusters, array, confidence, limits)
    return Estimate(value, low, high, len(array), len(clusters.sums))


def quantile_interval(
    values: object, share: float, groups: Groups = None, confidence: float = 0.95,
    limits: Range = SHARE,
) -> Estimate:  # fmt: skip
    """Interval of a quantile: the bounds at which the share of smaller values fits to it.

    Args:
        values: One score per image; infinite ones are allowed, such as the radius of an image that
            no attack broke.
        share: Share of the values below the quantile, in (0, 1); 0.5 for the median.
        groups: Group of each value; see :func:`mean_interval`.
        confidence: Confidence level, in (0, 1).
        limits: Smallest and largest possible value, returned where the sample has no bound.

    Raises:
        ValueError: If values are empty or NaN, or the share is outside (0, 1).

    >>> quantile_interval([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], 0.5)
    Estimate(value=0.5, low=0.2, high=0.8, n=9, groups=9)
    """
    array = np.asarray(values, dtype=np.float64)
    finite(np.nan_to_num(array, posinf=0.0, neginf=0.0, nan=nan), "values")
    if not 0 < share < 1:
        raise ValueError(f"Expected a share of values in (0, 1), got {share}.")

    def part(chosen: NDArray[Any]) -> Estimate:
        return mean_interval(chosen.astype(float), groups, confidence)

    value = float(np.quantile(array, share, method="inverted_cdf"))
    steps = np.unique(array)
    whole = part(np.ones_like(array))
    if whole.groups == 1:
        return Estimate(value, nan, nan, whole.n, 1)
    # Both shares grow with the step, so that the first one beyond is found by halving.
    after = _first(steps, lambda step: part(array < step).high > share)
    low = float(steps[after - 1]) if after else limits[0]
    until = _first(steps, lambda step: part(array <= step).low >= share)
    high = float(steps[until]) if until < len(steps) else limits[1]
    return Estimate(value, low, high, whole.n, whole.groups)


def images_to_decide(
    values: object,
    threshold: float,
    groups: Groups = None,
    confidence: float = 0.95,
    limits: Range = SHARE,
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
    spread = _standard_error(clusters) * np.sqrt(count)
    extreme = _extremes(array, limits)[0 if mean >= threshold else 1]

    def decides(number: int) -> bool:
        shift = (mean - extreme) / (number + 1)
        variance = spread**2 * (number - 1) / number + shift**2 * (number + 1)
        error = np.sqrt(variance / (number + 1))
        reach = stdtrit(number, (1 + confidence) / 2) * error
        reach += ndtri(_POWER) * spread / np.sqrt(number)
        return bool(abs(mean - threshold) >= abs(shift) + reach)

    if not decides(_MOST_GROUPS):
        return None
    needed = bisect_left(range(count + 1, _MOST_GROUPS), True, key=decides) + count + 1
    return ceil(needed * len(array) / count)


def _bounds(
    clusters: Clusters, array: Array, confidence: float, limits: Range
) -> tuple[float, float]:
    count = len(clusters.sums)
    if count == 1:
        return nan, nan
    if limits == SHARE and (clusters.sizes == 1).all() and np.isin(array, SHARE).all():
        return _exact(int(array.sum()), count, confidence)
    reach = stdtrit(count, (1 + confidence) / 2)
    sides = [_with_one_more(clusters, extreme) for extreme in _extremes(array, limits)]
    lower, upper = (float(more.sums.sum() / more.sizes.sum()) for more in sides)
    below, above = (float(reach * _standard_error(more)) for more in sides)
    return max(limits[0], lower - below), min(limits[1], upper + above)


def _exact(hits: int, count: int, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson interval of a share."""
    tail = (1 - confidence) / 2
    low = float(betaincinv(hits, count - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1 - tail)) if hits < count else 1.0
    return low, high


def _extremes(array: Array, limits: Range) -> Range:
    low, high = limits
    return (
        low if isfinite(low) else float(array.min()),
        high if isfinite(high) else float(array.max()),
    )


def _with_one_more(clusters: Clusters, value: float) -> Clusters:
    """Add a group of average size whose values are all ``value``."""
    size = clusters.sizes.mean()
    return Clusters(np.append(clusters.sums, value * size), np.append(clusters.sizes, size))


def _standard_error(clusters: Clusters) -> float:
    """Standard error of the pooled mean, from the deviations of the groups from it."""
    sums, sizes = clusters
    deviations = sums - sums.sum() / sizes.sum() * sizes
    count = len(sums)
    return float(np.sqrt(count / (count - 1) * (deviations**2).sum()) / sizes.sum())


def _first(steps: Array, is_beyond: Callable[[float], bool]) -> int:
    return bisect_left(range(len(steps)), True, key=lambda index: is_beyond(float(steps[index])))
