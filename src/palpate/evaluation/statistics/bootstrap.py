"""Bootstrap intervals of means and of paired differences.

Images of one patient, and prompts of one image, are not independent: ``groups`` names what is drawn
together. Intervals that ignore it are too narrow.
"""

from dataclasses import dataclass
from math import nan
from typing import Any, Literal, TypeAlias

import numpy as np
from scipy.stats import bootstrap

from palpate.evaluation.statistics.samples import Array, Clusters, Groups, finite, gather

Method: TypeAlias = Literal["percentile", "bca"]

_SCIPY_NAMES = {"percentile": "percentile", "bca": "BCa"}
_FEWEST_RESAMPLES = 100  # with fewer, the tails are too uncertain
_DRAWS_AT_ONCE = 2**20  # bounds memory to some tens of megabytes, whatever n and resamples


@dataclass(frozen=True)
class Interval:
    """A mean and its bootstrap interval.

    ``n`` values in ``groups`` independent groups; ``low`` and ``high`` are NaN where there is
    only one group, because the variation between groups is then unknown.
    """

    mean: float
    low: float
    high: float
    n: int
    groups: int


def bootstrap_interval(
    values: object,
    groups: Groups = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    method: Method = "percentile",
) -> Interval:
    """Bootstrap interval of a mean (Efron and Tibshirani, 1993), over groups where given.

    Groups are drawn with replacement, each with all its values; the mean is over all values
    drawn, so a patient with many images weighs more. The same seed and number of groups give
    the same resamples, in the order of the group names: pass the keys as groups where there are
    no patients, and the order of the rows changes nothing.

    Args:
        values: One score per image, all finite.
        groups: What each value belongs to. None: every value stands for itself.
        confidence: Share of samples whose interval would cover the true mean.
        resamples: Number of draws.
        seed: Of the draws.
        method: ``"percentile"``, or ``"bca"``, which corrects bias and skew at more cost.

    Raises:
        ValueError: For values that are empty or not finite, a confidence outside (0, 1), fewer
            than 100 resamples, or an unknown method.

    >>> bootstrap_interval([0.5, 0.5, 0.5])
    Interval(mean=0.5, low=0.5, high=0.5, n=3, groups=3)
    >>> bootstrap_interval([0.25, 0.75], groups=["same patient"] * 2)
    Interval(mean=0.5, low=nan, high=nan, n=2, groups=1)
    """
    array = finite(values, "values")
    _require_meaning(confidence, resamples, method)
    clusters = gather(array, groups)
    mean = float(_pooled_mean(*clusters))
    low, high = _bounds(clusters, mean, confidence, resamples, seed, method)
    return Interval(mean, low, high, len(array), len(clusters.sums))


def paired_difference(
    before: object,
    after: object,
    groups: Groups = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    method: Method = "percentile",
) -> Interval:
    """Interval of the mean of ``after - before``, pair by pair; negative where scores fell.

    Both sides see the same resamples, as a mean is linear: bootstrapping the differences is
    bootstrapping both and subtracting. Arguments as in :func:`bootstrap_interval`.

    >>> paired_difference([0.75, 0.5], [0.5, 0.25])
    Interval(mean=-0.25, low=-0.25, high=-0.25, n=2, groups=2)
    """
    return bootstrap_interval(
        differences(before, after), groups, confidence, resamples, seed, method
    )


def differences(before: object, after: object) -> Array:
    """``after - before`` of two checked sequences of one length."""
    first, second = finite(before, "scores before"), finite(after, "scores after")
    if len(first) != len(second):
        raise ValueError(f"Expected scores in pairs, got {len(first)} before, {len(second)} after.")
    return second - first


def _bounds(
    clusters: Clusters, mean: float, confidence: float, resamples: int, seed: int, method: Method
) -> tuple[float, float]:
    count = len(clusters.sums)
    if count == 1:
        return nan, nan
    if _all_equal(clusters.means):  # every draw gives the same mean, on which BCa is undefined
        return mean, mean
    interval = bootstrap(
        clusters,
        _pooled_mean,
        paired=True,
        vectorized=True,
        confidence_level=confidence,
        n_resamples=resamples,
        batch=max(1, _DRAWS_AT_ONCE // count),
        method=_SCIPY_NAMES[method],
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _pooled_mean(sums: Array, sizes: Array, axis: int = -1) -> Any:
    return sums.sum(axis) / sizes.sum(axis)


def _all_equal(means: Array) -> bool:
    return bool(np.ptp(means) <= 1e-12 * np.abs(means).max())


def _require_meaning(confidence: float, resamples: int, method: str) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"Expected 0 < confidence < 1, got {confidence}; 95 % is 0.95.")
    if resamples < _FEWEST_RESAMPLES:
        raise ValueError(f"Expected resamples >= {_FEWEST_RESAMPLES}, got {resamples}.")
    if method not in _SCIPY_NAMES:
        raise ValueError(f"Expected one of {', '.join(_SCIPY_NAMES)} as method, got {method!r}.")
