"""Summaries of robustness curves and radii: area, radius of half DSC, medians, worst decile."""

from dataclasses import dataclass
from math import inf, nan

import numpy as np
import pandas as pd
from scipy.integrate import trapezoid

from palpate.evaluation.statistics.intervals import quantile_interval
from palpate.evaluation.statistics.samples import Array, Groups, finite


def area_under_curve(epsilons: object, dice: object) -> Array:
    """Area under the DSC curve divided by the largest epsilon, by the trapezoid rule.

    Args:
        epsilons: Radii, ascending from 0 (the clean score), in units of pixel value.
        dice: DSC at each radius along the last axis, for one or many curves. With one curve per
            image the areas have an interval like any score.

    >>> float(area_under_curve([0, 1 / 255, 4 / 255], [1.0, 0.5, 0.5]))
    0.5625
    """
    radii, curves = _curve(epsilons, dice)
    return np.asarray(trapezoid(curves, radii, axis=-1) / radii[-1])


def success_rate(rows: pd.DataFrame, tau: float = 0.5) -> float:
    """Attack success rate: share of successes among the images with a clean DSC above ``tau``.

    It is NaN if there are no such images. See :func:`palpate.evaluation.outcome.success`.

    Args:
        rows: Rows of one condition.
        tau: DSC at or below which a prediction has failed, in [0, 1).
    """
    return float(rows.loc[rows["dsc_clean"] > tau, "success"].mean())


def epsilon_at_half(epsilons: object, dice: object, level: float | None = None) -> float:
    """Smallest epsilon at which a curve has fallen to half of its clean value.

    Interpolates linearly between the measured radii. NaN if the curve stays above that value.

    Args:
        epsilons: Radii, ascending from 0 (the clean score), in units of pixel value.
        dice: Mean DSC at each radius.
        level: DSC to look for instead of half of the clean value.

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
    """Mean of the lowest tenth of the values; their number is rounded up, so it is at least 1.

    >>> worst_decile([0.9, 0.1] + [1.0] * 8)
    0.1
    """
    array = np.sort(finite(values, "values"))
    return float(array[: -(-len(array) // 10)].mean())


@dataclass(frozen=True)
class Radius:
    """The smallest radius within which half of the predictions fail, with its interval.

    ``n`` is the number of images, in ``groups`` groups; on ``unbroken`` of them the attack failed.
    ``median``, ``low`` and ``high`` are infinite where fewer than half of the images fail.
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
) -> Radius:
    """Median robustness radius; images on which the attack failed have an infinite radius.

    Excluding those images would bias the median downwards. Their true radius only has to exceed
    the radii found, so the median is exact as long as the attack broke half of the images. It is
    the smallest radius within which at least half of the images fail.

    Args:
        lengths: Norm of the perturbation that broke each image; ignored if none did.
        broken: Whether the attack broke each image.
        groups: Group of each image, such as the patient; None: every image is its own group.
        confidence: Confidence level of the interval, in (0, 1).

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
    found_interval = quantile_interval(radii, 0.5, groups, confidence, (0.0, inf))
    low, high = found_interval.low, found_interval.high
    if np.isinf(radii).all():
        low = high = inf
    unbroken = int((~found).sum())
    groups_in = found_interval.groups
    return Radius(found_interval.value, low, high, len(radii), groups_in, unbroken)


def _curve(epsilons: object, dice: object) -> tuple[Array, Array]:
    radii, curves = finite(epsilons, "epsilons"), np.asarray(dice, dtype=np.float64)
    if radii[0] != 0 or len(radii) < 2 or (np.diff(radii) <= 0).any():
        raise ValueError(f"Expected at least two ascending epsilons from 0, got {radii.tolist()}.")
    if curves.ndim < 1 or curves.shape[-1] != len(radii) or not np.isfinite(curves).all():
        raise ValueError(f"Expected {len(radii)} finite scores per curve, got {curves.tolist()}.")
    return radii, curves
