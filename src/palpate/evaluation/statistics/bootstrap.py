"""The bootstrap intervals that most papers use: percentile and BCa, clustered by group.

The report does not use them, because they are too narrow in small samples; see
:mod:`palpate.evaluation.statistics.intervals`. They are here to be compared with.
"""

from math import nan
from typing import Any, Literal, TypeAlias

import numpy as np
from scipy.stats import bootstrap

from palpate.evaluation.statistics.intervals import Interval
from palpate.evaluation.statistics.samples import Array, Clusters, Groups, finite, gather

Method: TypeAlias = Literal["percentile", "bca"]

_SCIPY_NAMES = {"percentile": "percentile", "bca": "BCa"}
_FEWEST_RESAMPLES = 100  # with fewer, the tails are too uncertain
_DRAWS_AT_ONCE = 2**20  # bounds memory to some tens of megabytes, whatever n and resamples


def bootstrap_interval(
    values: object,
    groups: Groups = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    method: Method = "percentile",
) -> Interval:
    """Bootstrap interval of a mean (Efron and Tibshirani, 1993), optionally clustered by group.

    Groups are drawn with replacement, each with all its values. The mean is over all values
    drawn, so that a patient with many images has more weight. Groups are sorted by name, and the
    resamples depend only on the seed and the number of groups. If there are no patients, pass the
    keys of the images as groups: the result then does not depend on the order of the rows.

    Args:
        values: One finite score per image.
        groups: Group of each value, such as the patient. None: every value is its own group.
        confidence: Confidence level, in (0, 1).
        resamples: Number of bootstrap resamples, at least 100.
        seed: Seed of the resampling.
        method: ``"percentile"``, or ``"bca"``, which corrects bias and skew at a higher cost.

    Raises:
        ValueError: If values are empty or not finite, the confidence is outside (0, 1), there are
            fewer than 100 resamples, or the method is unknown.

    >>> bootstrap_interval([0.5, 0.5, 0.5])
    Interval(value=0.5, low=0.5, high=0.5, n=3, groups=3)
    >>> bootstrap_interval([0.25, 0.75], groups=["same patient"] * 2)
    Interval(value=0.5, low=nan, high=nan, n=2, groups=1)
    """
    array = finite(values, "values")
    _require_meaning(confidence, resamples, method)
    clusters = gather(array, groups)
    mean = float(_pooled_mean(*clusters))
    low, high = _bounds(clusters, mean, confidence, resamples, seed, method)
    return Interval(mean, low, high, len(array), len(clusters.sums))


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
