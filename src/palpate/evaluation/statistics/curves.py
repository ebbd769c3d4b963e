"""Summaries of robustness curves and radii: area, radius of half DSC, medians, worst decile."""

from dataclasses import dataclass
from math import inf, nan

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from palpate.evaluation.statistics.samples import Array, Groups, finite

_DRAWS_AT_ONCE = 2**20  # bounds memory, whatever the number of images


def area_under_curve(epsilons: object, dice: object) -> Array:
    """Mean height of the curve between epsilon 0 and the largest, by the trapezoid rule.

    Args:
        epsilons: Radii, ascending from 0 (the clean score), in units of pixel value.
        dice: DSC at each of them along the last axis, one curve or many: one curve per image
            lets the area be bootstrapped like any score.

    >>> float(area_under_curve([0, 1 / 255, 4 / 255], [1.0, 0.5, 0.5]))
    0.5625
    """
    radii, curves = _curve(epsilons, dice)
    return np.asarray(trapezoid(curves, radii, axis=-1) / radii[-1])


def success_rate(rows: pd.DataFrame, tau: float = 0.5) -> float:
    """Share of successes among the images whose clean prediction had not failed.

    Images with a failed clean prediction are left out; NaN where there are no others. See
    :func:`palpate.evaluation.outcome.success`.

    Args:
        rows: Of one condition.
        tau: DSC down from which a prediction has failed.
    """
    return float(rows.loc[rows["dsc_clean"] > tau, "success"].mean())


def epsilon_at_half(epsilons: object, dice: object, level: float | None = None) -> float:
    """Smallest epsilon at which a curve has fallen to half of its clean value.

    Interpolates linearly between the measured radii; NaN where the curve never falls so far.

    Args:
        epsilons: Radii, ascending from 0 (the clean score), in units of pixel value.
        dice: Mean DSC at each of them.
        level: Another height to look for, such as 0.5 for a DSC of one half.

    >>> epsilon_at_half([0, 1, 2], [0.75, 0.5, 0.25])
    1.5
    >>> epsilon_at_half([0, 1], [0.75, 0.5])
    nan
    """
    radii, curve = _curve(epsilons, dice)
    if curve.ndim != 1:
        raise ValueError(f"Expected one curve, got shape {curve.shape}; average it first.")
    goal = curve[0] / 2 if level is None else level
    below = np.flatnonzero(curve <= goal)
    if not len(below):
        return nan
    i = below[0]
    if i == 0:
        return 0.0
    share = (curve[i - 1] - goal) / (curve[i - 1] - curve[i])
    return float(radii[i - 1] + share * (radii[i] - radii[i - 1]))


def worst_decile(values: object) -> float:
    """Mean of the lowest tenth of the values, rounded up to at least one of them.

    >>> worst_decile([0.9, 0.1] + [1.0] * 8)
    0.1
    """
    array = np.sort(finite(values, "values"))
    return float(array[: -(-len(array) // 10)].mean())


@dataclass(frozen=True)
class Radius:
    """The smallest radius within which half of the predictions fail, with its interval.

    ``median``, ``low`` and ``high`` are infinite where fewer than half were broken at all.
    ``unbroken`` of the ``n`` images in ``groups`` groups were not.
    """

    median: float
    low: float
    high: float
    n: int
    groups: int
    unbroken: int


def median_radius(
    lengths: object,
    broken: object,
    groups: Groups = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Radius:
    """Median robustness radius, images that were not broken counted as beyond every radius.

    Leaving those out would bias the median downwards. Their radius only has to be larger than
    those found, so the median is exact as long as half of the images broke. It is the smallest
    radius within which at least half of them do.

    Args:
        lengths: Length of the perturbation that broke each image; any number where none did.
        broken: Whether one was found.
        groups: What each image belongs to and is drawn with; None: itself.
        confidence: Share of samples whose interval would cover the median.
        resamples: Draws of the percentile bootstrap.
        seed: Of the draws.

    Raises:
        ValueError: If there are no images, or a length is negative or not finite.

    >>> median_radius([0.1, 0.2, 0.0], [True, True, False]).median
    0.2
    >>> median_radius([0.1, 0.0, 0.0], [True, False, False]).median
    inf
    """
    found, radii = np.asarray(broken, dtype=bool), np.asarray(lengths, dtype=np.float64)
    radii = np.where(found, radii, inf)
    finite(np.where(found, radii, 0.0), "lengths")
    if (radii < 0).any():
        raise ValueError(f"Expected lengths >= 0, got {radii.min()}.")
    names = np.arange(len(radii)) if groups is None else np.asarray(groups, dtype=object)
    codes = pd.factorize(names, sort=True)[0]
    order = np.argsort(radii, kind="stable")
    radii, codes = radii[order], codes[order]
    count = int(codes.max()) + 1
    low, high = (inf, inf) if np.isinf(radii).all() else (nan, nan)
    if count > 1:
        medians = np.sort(_drawn_medians(radii, codes, count, resamples, seed))
        tail = (1 - confidence) / 2  # no interpolation between a radius and infinity
        low, high = (medians[round(q * (resamples - 1))] for q in (tail, 1 - tail))
    median = float(radii[(len(radii) - 1) // 2])
    return Radius(median, float(low), float(high), len(radii), count, int((~found).sum()))


def _drawn_medians(
    radii: Array, codes: NDArray[np.intp], count: int, resamples: int, seed: int
) -> Array:
    """Medians of samples of groups; radii rise, a weight is how often a group was drawn."""
    random, medians = np.random.default_rng(seed), []
    portion = max(1, _DRAWS_AT_ONCE // len(radii))
    for start in range(0, resamples, portion):
        draws = random.multinomial(count, [1 / count] * count, size=min(portion, resamples - start))
        weights = draws[:, codes].cumsum(axis=1)
        medians.append(radii[(weights * 2 >= weights[:, -1:]).argmax(axis=1)])
    return np.concatenate(medians)


def _curve(epsilons: object, dice: object) -> tuple[Array, Array]:
    radii, curves = finite(epsilons, "epsilons"), np.asarray(dice, dtype=np.float64)
    if radii[0] != 0 or len(radii) < 2 or (np.diff(radii) <= 0).any():
        raise ValueError(f"Expected at least two ascending epsilons from 0, got {radii.tolist()}.")
    if curves.ndim < 1 or curves.shape[-1] != len(radii) or not np.isfinite(curves).all():
        raise ValueError(f"Expected {len(radii)} finite scores per curve, got {curves.tolist()}.")
    return radii, curves
