"""The intervals of the report: of a mean, a paired difference and a quantile, by group.

The mean of a sample has an interval by the Bayesian bootstrap (Rubin, 1981): the groups get random
weights, and the interval holds 95 % of the weighted means. With few images that is too narrow,
because a sample of ten often lacks the failure that one image in ten has. So half an observation
is added: at the lowest possible value for the lower bound, at the highest for the upper bound. With
a whole one, this is the bound of Learned-Miller and Thomas (2020, arXiv:1905.06208), and for shares
that of Clopper and Pearson (1934). A half is enough for scores, as the simulations in
``tests/evaluation/test_coverage.py`` show; shares, the hardest case, get the whole one.

Where the limits are far from all values (paired differences) or infinite (distances), the extra
observation moves towards the mean as the sample grows, see :func:`bounds`.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf, isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from palpate.evaluation.statistics.samples import (
    Array,
    Clusters,
    Groups,
    differences,
    finite,
    gather,
    standard_error,
)

Range = tuple[float, float]

SHARE: Range = (0.0, 1.0)
CHANGE: Range = (-1.0, 1.0)
UNLIMITED: Range = (-inf, inf)
EXTRA = 0.5  # observations that are added at a limit; chosen by simulation
FEWEST_UNLIMITED = 30  # groups: a failure of one image in ten is missing from 4 % of such samples
_NEAR = 16  # groups up to which the extra observation of a difference stays at the limit
_DEVIATIONS = 400  # divided by the groups: its distance from the mean, in standard deviations
_IN_A_TAIL = 125  # random means beyond each bound; its error is then 2 % of half the width
_AT_ONCE = 2**20  # random weights in memory at once, 8 MB


@dataclass(frozen=True)
class Interval:
    """A mean or quantile of ``n`` values in ``groups`` independent groups, and its interval.

    ``low`` and ``high`` are NaN where the sample allows no interval: one group, or a mean without
    limits of fewer than 30 groups or of equal values.
    """

    value: float
    low: float
    high: float
    n: int
    groups: int

    @property
    def mean(self) -> float:
        """The value, where it is a mean."""
        return self.value


def mean_interval(
    values: object,
    groups: Groups = None,
    confidence: float = 0.95,
    limits: Range = SHARE,
    *,
    far_limits: bool = False,
    seed: int = 0,
) -> Interval:
    """Interval of a mean.

    It depends neither on the order of the values nor on the names of the groups.

    Args:
        values: One finite score per image.
        groups: Group of each value, such as the patient. None: every value is its own group. The
            mean is over all values, so that a patient with many images has more weight.
        confidence: Confidence level, in (0, 1).
        limits: Smallest and largest possible value.
        far_limits: Whether the limits are far from all usual values, as those of differences are.
        seed: Seed of the random weights.

    Raises:
        ValueError: If values are empty, not finite or outside the limits, or the confidence is
            outside (0, 1).

    >>> found = mean_interval([1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    >>> found.value, round(found.low, 3), found.high
    (1.0, 0.692, 1.0)
    """
    array = finite(values, "values")
    _require_confidence(confidence)
    if array.min() < limits[0] - 1e-6 or array.max() > limits[1] + 1e-6:
        raise ValueError(
            f"Expected values from {limits[0]:g} to {limits[1]:g}, got {array.min():g} to "
            f"{array.max():g}; pass the smallest and largest possible value as limits."
        )
    clusters = gather(array, groups)
    count = len(clusters.sums)
    value = float(clusters.sums.sum() / clusters.sizes.sum())
    low = high = nan
    is_share = limits == SHARE and not far_limits and bool(np.isin(array, SHARE).all())
    if is_share and count > 1 and (clusters.sizes == 1).all():
        low, high = _exact(int(array.sum()), count, confidence)
    elif count > 1 and (isfinite(sum(limits)) or _is_enough(clusters)):
        order = np.lexsort((clusters.sizes, clusters.means))
        low, high = map(float, bounds(
            Clusters(clusters.sums[order], clusters.sizes[order]), confidence, limits,
            far_limits=far_limits, extra=1.0 if is_share else EXTRA, seed=seed,
        ))  # fmt: skip
    return Interval(value, low, high, len(array), count)


def paired_difference(
    before: object,
    after: object,
    groups: Groups = None,
    confidence: float = 0.95,
    limits: Range = CHANGE,
    *,
    seed: int = 0,
) -> Interval:
    """Interval of the mean paired difference ``after - before``; negative for a loss.

    Args:
        before: One score per image.
        after: The other score of the same images, in the same order.
        groups: Group of each pair; see :func:`mean_interval`.
        confidence: Confidence level, in (0, 1).
        limits: Smallest and largest possible difference.
        seed: Seed of the random weights.

    Raises:
        ValueError: If scores are empty, not finite or of different lengths, or a difference is
            outside the limits.

    >>> paired_difference([0.75, 0.5], [0.5, 0.25]).value
    -0.25
    """
    return mean_interval(
        differences(before, after), groups, confidence, limits, far_limits=True, seed=seed
    )


def quantile_interval(
    values: object, share: float, groups: Groups = None, confidence: float = 0.95,
    limits: Range = SHARE,
) -> Interval:  # fmt: skip
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
    Interval(value=0.5, low=0.2, high=0.8, n=9, groups=9)
    """
    array = np.asarray(values, dtype=np.float64)
    finite(np.nan_to_num(array, posinf=0.0, neginf=0.0, nan=nan), "values")
    if not 0 < share < 1:
        raise ValueError(f"Expected a share of values in (0, 1), got {share}.")

    def part(chosen: NDArray[Any]) -> Interval:
        return mean_interval(chosen.astype(float), groups, confidence)

    value = float(np.quantile(array, share, method="inverted_cdf"))
    steps = np.unique(array)
    whole = part(np.ones_like(array))
    if whole.groups == 1:
        return Interval(value, nan, nan, whole.n, 1)
    # Both shares grow with the step, so that the first one beyond is found by halving.
    after = _first(steps, lambda step: part(array < step).high > share)
    low = float(steps[after - 1]) if after else limits[0]
    until = _first(steps, lambda step: part(array <= step).low >= share)
    high = float(steps[until]) if until < len(steps) else limits[1]
    return Interval(value, low, high, whole.n, whole.groups)


def bounds(
    clusters: Clusters,
    confidence: float = 0.95,
    limits: Range = SHARE,
    *,
    far_limits: bool = False,
    extra: float = EXTRA,
    seed: int = 0,
    draws: int | None = None,
) -> tuple[Array, Array]:
    """Lower and upper bound of the mean, of one or of many samples at once.

    With far or infinite limits, the extra observation of ``n`` groups is at most ``400 / n``
    standard deviations from the mean, or ``(16 / n)^2`` of the way to the limit if that is more:
    what a sample of 20 may lack, one of 50 shows.

    Args:
        clusters: Sums and sizes, shape ``(..., groups)``.
        confidence: Confidence level, in (0, 1).
        limits: Smallest and largest possible value.
        far_limits: See :func:`mean_interval`; infinite limits always are.
        extra: Number of extra observations.
        seed: Seed of the random weights, which are the same for all samples.
        draws: Number of random weights of each group; by default 5000 at 95 %, more if higher.
    """
    sums, sizes = clusters
    tail = (1 - confidence) / 2
    count, size = sums.shape[-1], sizes.mean(-1, keepdims=True)
    mean = sums.sum(-1) / sizes.sum(-1)
    spread = standard_error(clusters) * np.sqrt(count)
    far = far_limits or not isfinite(sum(limits))
    ends = reached(mean, spread, count, limits, far)
    low, high = (end[..., None] * size for end in ends)
    below, above = [], []
    for weights, more in _weights(count, extra, draws or ceil(_IN_A_TAIL / tail), seed):
        drawn, total = sums @ weights.T, sizes @ weights.T + more * size
        below.append((drawn + more * low) / total)
        above.append((drawn + more * high) / total)
    lower = np.quantile(np.concatenate(below, -1), tail, axis=-1)
    upper = np.quantile(np.concatenate(above, -1), 1 - tail, axis=-1)
    return lower, upper


def reached(mean: Any, spread: Any, count: int, limits: Range, far_limits: bool) -> tuple[Any, Any]:
    """Values of the extra observation for the lower and the upper bound.

    Args:
        mean: Mean of the sample, or of several.
        spread: Standard deviation of the groups, same shape.
        count: Number of groups.
        limits: Smallest and largest possible value.
        far_limits: Whether the limits are far from all usual values, or infinite.
    """
    part = min(1.0, (_NEAR / count) ** 2)

    def distance(limit: float) -> Any:
        whole = np.abs(limit - mean)
        if not far_limits:
            return whole
        nearer = np.maximum(_DEVIATIONS / count * spread, part * whole if isfinite(limit) else 0.0)
        return np.minimum(whole, nearer)

    return mean - distance(limits[0]), mean + distance(limits[1])


def _weights(count: int, extra: float, draws: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """Yield blocks of random weights of the groups and of the extra observation."""
    portion = max(1, _AT_ONCE // count)
    for start in range(0, draws, portion):
        yield _block(count, extra, min(portion, draws - start), seed, start)


@lru_cache(maxsize=8)
def _block(count: int, extra: float, draws: int, seed: int, start: int) -> tuple[Array, Array]:
    """Weights before normalisation: those of a Dirichlet distribution, as gamma variables."""
    random = np.random.default_rng([seed, start])
    weights, more = random.standard_exponential((draws, count)), random.gamma(extra, size=draws)
    for array in (weights, more):
        array.setflags(write=False)  # shared by all who ask
    return weights, more


def _is_enough(clusters: Clusters) -> bool:
    """Whether the mean of a metric without limits can have an interval."""
    return len(clusters.sums) >= FEWEST_UNLIMITED and bool(np.ptp(clusters.means) > 0)


def _require_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"Expected 0 < confidence < 1, got {confidence}; 95 % is 0.95.")


def _exact(hits: int, count: int, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson interval of a share."""
    tail = (1 - confidence) / 2
    low = float(betaincinv(hits, count - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1 - tail)) if hits < count else 1.0
    return low, high


def _first(steps: Array, is_beyond: Callable[[float], bool]) -> int:
    return bisect_left(range(len(steps)), True, key=lambda index: is_beyond(float(steps[index])))
