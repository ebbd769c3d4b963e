"""Paired tests, their effect size, and Holm's correction for several tests."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy.stats import permutation_test, rankdata, wilcoxon

from palpate.evaluation.statistics.samples import (
    Array,
    Clusters,
    Groups,
    differences,
    finite,
    gather,
)

Test: TypeAlias = Literal["wilcoxon", "permutation"]

_FLIPS_AT_ONCE = 2**20


@dataclass(frozen=True)
class Comparison:
    """Result of a paired test.

    ``effect`` is the matched-pairs rank-biserial correlation in [-1, 1]: 1 if every value rose,
    -1 if every value fell. ``difference`` is the mean of ``after - before``.
    """

    p_value: float
    effect: float
    difference: float
    n: int
    groups: int


def paired_test(
    before: object,
    after: object,
    groups: Groups = None,
    test: Test = "wilcoxon",
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Two-sided test of the hypothesis that ``after`` and ``before`` do not differ.

    Args:
        before: One score per image.
        after: The other score of the same images, in the same order.
        groups: Group of each pair, such as the patient; groups are the units of the test. None:
            every pair is its own group.
        test: ``"wilcoxon"``: signed-rank test on the mean difference of each group, without groups
            whose difference is 0. ``"permutation"``: flips the sign of whole groups and compares
            the mean over all pairs.
        resamples: Number of sign flips in the permutation test; the test is exact if there are no
            more possible ones. Otherwise the smallest possible p is ``2 / (resamples + 1)``.
        seed: Seed of the sign flips.

    Returns:
        The result; p = 1 and effect = 0 if no pair differs.

    Raises:
        ValueError: If scores are not finite, not paired, or the test is unknown.

    >>> paired_test([0.5, 0.5], [0.5, 0.5])
    Comparison(p_value=1.0, effect=0.0, difference=0.0, n=2, groups=2)
    """
    if test not in ("wilcoxon", "permutation"):
        raise ValueError(f"Expected wilcoxon or permutation as test, got {test!r}.")
    changes = differences(before, after)
    clusters = gather(changes, groups)
    p_value = 1.0
    if clusters.sums.any():
        p_value = _wilcoxon(clusters) if test == "wilcoxon" else _flip(clusters, resamples, seed)
    return Comparison(
        p_value,
        _rank_biserial(clusters.means),
        float(changes.mean()),
        len(changes),
        len(clusters.sums),
    )


def holm(p_values: object) -> Array:
    """P-values adjusted for the family-wise error rate (Holm, 1979).

    The i-th smallest of m p-values (from i = 0) is multiplied by m - i, raised to the largest
    before it, and limited to 1. Compare the result with the significance level itself.
    Implemented here because SciPy only has corrections for the false discovery rate.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = finite(p_values, "p-values")
    if (p < 0).any() or (p > 1).any():
        raise ValueError(f"Expected p-values in [0, 1], got {p.min()} to {p.max()}.")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    stepped = p[order] * np.arange(len(p), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def _wilcoxon(clusters: Clusters) -> float:
    return float(wilcoxon(clusters.means[clusters.means != 0]).pvalue)


def _flip(clusters: Clusters, resamples: int, seed: int) -> float:
    if len(clusters.sums) == 1:  # both signs are equally far from 0; SciPy needs two groups
        return 1.0
    result = permutation_test(
        (clusters.sums,),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, _FLIPS_AT_ONCE // len(clusters.sums)),
        random_state=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def _rank_biserial(changes: Array) -> float:
    changes = changes[changes != 0]
    if not len(changes):
        return 0.0
    ranks = rankdata(np.abs(changes))
    return float((np.sign(changes) * ranks).sum() / ranks.sum())
