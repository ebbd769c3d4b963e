"""Checks values before they are averaged, and sums them by group."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Groups: TypeAlias = Sequence[Any] | NDArray[Any] | pd.Series | None


class Clusters(NamedTuple):
    """Sum and number of the values of each group."""

    sums: Array
    sizes: Array

    @property
    def means(self) -> Array:
        return self.sums / self.sizes


def finite(values: object, name: str) -> Array:
    """Convert a flat sequence of numbers to an array, and check it.

    Args:
        values: The numbers.
        name: What they are, for error messages.

    Raises:
        ValueError: If it is empty, not flat, or contains NaN or infinity.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"Expected {name} as a flat, non-empty sequence, got shape {array.shape}.")
    broken = np.flatnonzero(~np.isfinite(array))
    if len(broken):
        raise ValueError(
            f"Expected finite {name}, got {len(broken)} of {len(array)} that are not, "
            f"the first {array[broken[0]]} at position {broken[0]}; leave them out and say so."
        )
    return array


def gather(values: Array, groups: Groups) -> Clusters:
    """Compute sum and size of each group, sorted by the names of the groups.

    If ``groups`` is None, each value is its own group.

    Raises:
        ValueError: If a value has no group.
    """
    if groups is None:
        return Clusters(values, np.ones_like(values))
    if len(groups) != len(values):
        raise ValueError(f"Expected one group per value ({len(values)}), got {len(groups)}.")
    codes, _ = pd.factorize(np.asarray(groups, dtype=object), sort=True)
    if (codes < 0).any():
        raise ValueError(f"Expected a group for every value, got none for {(codes < 0).sum()}.")
    sums, sizes = np.bincount(codes, values), np.bincount(codes)
    return Clusters(sums.astype(np.float64), sizes.astype(np.float64))


def differences(before: object, after: object) -> Array:
    """Compute ``after - before``.

    Raises:
        ValueError: If the sequences are empty, not finite or of different lengths.
    """
    first, second = finite(before, "scores before"), finite(after, "scores after")
    if len(first) != len(second):
        raise ValueError(f"Expected scores in pairs, got {len(first)} before, {len(second)} after.")
    return second - first


def standard_error(clusters: Clusters) -> Array:
    """Standard error of the pooled mean, from the deviations of two or more groups from it.

    Args:
        clusters: Sums and sizes, shape ``(..., groups)``, of one or of many samples.
    """
    sums, sizes = clusters
    count, total = sums.shape[-1], sizes.sum(-1)
    deviations = sums - (sums.sum(-1) / total)[..., None] * sizes
    error: Array = np.sqrt(count / (count - 1) * (deviations**2).sum(-1)) / total
    return error
