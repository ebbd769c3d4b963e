"""The images that fare worst: a mean hides them, and patients are images, not means."""

from math import nan
from typing import Final

import numpy as np
import pandas as pd

from palpate.evaluation.statistics.curves import worst_decile
from palpate.reporting.numbers.checked_rows import CONDITION, conditions, facets

_RESAMPLES: Final = 2000


def worst_tenth(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean DSC of the worst tenth of the images of each condition, with its interval.

    The tenth is taken anew within every resample of the groups, so the interval knows that other
    images could have been the worst ones. ``n_worst`` is the size of the tenth, rounded up.
    """
    lines = []
    for name, part in facets(rows):
        where = {"facet": name, **part[["dataset", "structure"]].iloc[0].to_dict()}
        for condition, some in conditions(part):
            values = some["dsc"].to_numpy(dtype=float)
            mean, low, high = lower_tail(values, some["group"].to_numpy())
            lines.append(
                where
                | dict(zip(CONDITION, condition, strict=True))
                | {"n": len(some), "n_worst": -(-len(some) // 10)}
                | {"groups": some["group"].nunique()}
                | {"worst": mean, "worst_low": low, "worst_high": high}
            )
    return pd.DataFrame(lines)


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
    """Weighted mean of the lowest tenth; values rise, a weight is how often a value was drawn."""
    total = weights.sum(axis=1, keepdims=True)
    wanted = -(-total // 10)
    before = weights.cumsum(axis=1) - weights
    taken = np.clip(wanted - before, 0, weights)
    means: np.ndarray = taken @ values / taken.sum(axis=1)
    return means
