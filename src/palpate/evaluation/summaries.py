"""A whole robustness curve, DSC over epsilon, in one number."""

from math import nan

import numpy as np
from scipy.integrate import trapezoid

from palpate.evaluation._samples import Array, finite


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


def _curve(epsilons: object, dice: object) -> tuple[Array, Array]:
    radii, curves = finite(epsilons, "epsilons"), np.asarray(dice, dtype=np.float64)
    if radii[0] != 0 or len(radii) < 2 or (np.diff(radii) <= 0).any():
        raise ValueError(f"Expected at least two ascending epsilons from 0, got {radii.tolist()}.")
    if curves.ndim < 1 or curves.shape[-1] != len(radii) or not np.isfinite(curves).all():
        raise ValueError(f"Expected {len(radii)} finite scores per curve, got {curves.tolist()}.")
    return radii, curves
