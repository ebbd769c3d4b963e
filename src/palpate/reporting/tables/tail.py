"""The worst tenth of the images, which a mean over all images does not show."""

from math import nan
from typing import Final

import numpy as np
import pandas as pd

from palpate.evaluation.metrics import Metric
from palpate.evaluation.results.rows import metrics_in
from palpate.evaluation.statistics.curves import worst_decile
from palpate.reporting.numbers.checked_rows import CONDITION, conditions, facets

_RESAMPLES: Final = 2000


def worst_tenth(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean of the worst tenth of the images of each condition, for each primary metric.

    The worst tenth is determined again in every bootstrap resample, because other images could
    have been the worst. ``n_worst`` is the size of the tenth, rounded up. Lower values are worse
    unless the metric declares otherwise.

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
    if metric.direction == "higher":
        return lower_tail(values, groups)
    mean, low, high = lower_tail(-values, groups)
    return -mean, -high, -low


def lower_tail(values: np.ndarray, groups: np.ndarray) -> tuple[float, float, float]:
    """Mean of the lowest tenth, and the ends of its 95 % percentile bootstrap interval.

    >>> lower_tail(np.array([0.2, *[0.8] * 9]), np.arange(10))[0]
    0.2
    """
    if len(np.unique(groups)) < 2:  # one group does not tell how much groups differ
        return worst_decile(values), nan, nan
    order = np.argsort(values, kind="stable")
    values, codes = values[order], np.unique(groups, return_inverse=True)[1][order]
    number = codes.max() + 1
    draws = np.random.default_rng(0).multinomial(number, [1 / number] * number, size=_RESAMPLES)
    means = _tail_means(values, draws[:, codes].astype(float))
    low, high = np.quantile(means, [0.025, 0.975])
    return worst_decile(values), float(low), float(high)


def _tail_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of the lowest tenth of sorted values; a weight counts draws of a value."""
    total = weights.sum(axis=1, keepdims=True)
    wanted = -(-total // 10)
    before = weights.cumsum(axis=1) - weights
    taken = np.clip(wanted - before, 0, weights)
    means: np.ndarray = taken @ values / taken.sum(axis=1)
    return means
