"""The worst tenth of the images, which a mean over all images does not show."""

from math import isfinite, nan
from typing import Final

import numpy as np
import pandas as pd

from palpate.evaluation.metrics import Metric
from palpate.evaluation.results.rows import metrics_in
from palpate.evaluation.statistics.curves import worst_decile
from palpate.evaluation.statistics.intervals import EXTRA, SHARE, Range
from palpate.reporting.numbers.checked_rows import CONDITION, conditions, facets

_DRAWS: Final = 2000


def worst_tenth(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean of the worst tenth of the images of each condition, for each primary metric.

    The worst tenth is determined again for all random weights of the interval, because other images
    could have been the worst. ``n_worst`` is the size of the tenth, rounded up. Lower values are
    worse unless the metric declares otherwise.

    Returns:
        For each metric the mean with ``_low`` and ``_high``, see :func:`worst_column`.
    """
    lines = []
    metrics = [metric for metric in metrics_in(rows) if metric.primary]
    for name, part in facets(rows):
        where = {"facet": name, **part[["dataset", "structure"]].iloc[0].to_dict()}
        for condition, some in conditions(part):
            tails: dict[str, float] = {}
            for metric in metrics:
                name = worst_column(metric)
                mean, low, high = _worst(some[some[metric.name].notna()], metric)
                tails |= {name: mean, f"{name}_low": low, f"{name}_high": high}
            lines.append(
                where
                | dict(zip(CONDITION, condition, strict=True))
                | {"n": len(some), "n_worst": -(-len(some) // 10)}
                | {"groups": some["group"].nunique()}
                | tails
            )
    return pd.DataFrame(lines)


def worst_column(metric: Metric) -> str:
    """The column of :func:`worst_tenth` with the values of a metric: ``worst`` is that of DSC."""
    return "worst" if metric.name == "dsc" else f"worst_{metric.name}"


def _worst(rows: pd.DataFrame, metric: Metric) -> tuple[float, float, float]:
    if rows.empty:
        return nan, nan, nan
    values, groups = rows[metric.name].to_numpy(dtype=float), rows["group"].to_numpy()
    least, most = metric.range
    if metric.direction == "higher":
        return lower_tail(values, groups, metric.range)
    mean, low, high = lower_tail(-values, groups, (-most, -least))
    return -mean, -high, -low


def lower_tail(
    values: np.ndarray, groups: np.ndarray, limits: Range = SHARE
) -> tuple[float, float, float]:
    """Mean of the lowest tenth, and its 95 % interval by the Bayesian bootstrap.

    As for means, half an observation is added at the limit. Without limits, or with one group,
    there is no interval.

    >>> lower_tail(np.array([0.2, *[0.8] * 9]), np.arange(10))[0]
    0.2
    """
    codes = np.unique(groups, return_inverse=True)[1]
    if codes.max() == 0 or not isfinite(sum(limits)):
        return worst_decile(values), nan, nan
    order = np.argsort(values, kind="stable")
    values, codes = values[order], codes[order]
    random, count = np.random.default_rng(0), int(codes.max()) + 1
    weights = random.standard_exponential((_DRAWS, count))[:, codes]
    extra = random.gamma(EXTRA, size=(_DRAWS, 1)) * len(values) / count
    below = _tail_means(np.r_[limits[0], values], np.hstack([extra, weights]))
    above = _tail_means(np.r_[values, limits[1]], np.hstack([weights, extra]))
    return worst_decile(values), float(np.quantile(below, 0.025)), float(np.quantile(above, 0.975))


def _tail_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of the lowest tenth of sorted values, by weight."""
    wanted = weights.sum(axis=1, keepdims=True) / 10
    before = weights.cumsum(axis=1) - weights
    taken = np.clip(wanted - before, 0, weights)
    means: np.ndarray = taken @ values / taken.sum(axis=1)
    return means
