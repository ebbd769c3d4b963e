from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palpate.evaluation.summaries import area_under_curve, epsilon_at_half, worst_decile

EPSILONS = np.array([0, 1, 2, 4, 8]) / 255


@settings(deadline=None)
@given(st.floats(0, 1))
def test_area_under_a_flat_curve_is_its_height(height):
    assert area_under_curve(EPSILONS, [height] * 5) == pytest.approx(height)


def test_area_under_a_line_is_its_middle_whatever_the_spacing():
    assert area_under_curve(EPSILONS, 1 - EPSILONS / EPSILONS[-1]) == pytest.approx(0.5)


def test_area_of_many_curves_averages_to_the_area_of_their_mean():
    curves = np.random.default_rng(0).random((7, 5))
    areas = area_under_curve(EPSILONS, curves)
    assert areas.shape == (7,)
    assert areas.mean() == pytest.approx(float(area_under_curve(EPSILONS, curves.mean(0))))


@settings(deadline=None)
@given(st.floats(0.1, 1), st.floats(0.02, 0.9))
def test_half_of_a_line_is_found_between_the_measured_radii(clean, crossing):
    curve = clean * (1 - 0.5 * EPSILONS / (crossing * EPSILONS[-1]))
    assert epsilon_at_half(EPSILONS, curve) == pytest.approx(crossing * EPSILONS[-1])


@pytest.mark.parametrize(
    ("dice", "level", "expected"),
    [
        ([0.8, 0.7, 0.6], None, float("nan")),
        ([0.8, 0.7, 0.4], None, 2),
        ([0.8, 0.2, 0.6], None, 2 / 3),  # the first time, though it comes back
        ([0.8, 0.6, 0.4], 0.5, 1.5),
        ([0.4, 0.3, 0.2], 0.5, 0),
        ([0.0, 0.0, 0.0], None, 0),
        ([0.8, 0.8, 0.0], None, 1.5),
    ],
)
def test_epsilon_at_half_or_at_a_level(dice, level, expected):
    found = epsilon_at_half([0, 1, 2], dice, level)
    assert isnan(found) if isnan(expected) else found == pytest.approx(expected)


@pytest.mark.parametrize(("n", "worst"), [(1, 1), (10, 1), (11, 2), (20, 2), (100, 10)])
def test_worst_decile_is_the_mean_of_the_lowest_tenth(n, worst):
    values = np.random.default_rng(0).permutation(n).astype(float)
    assert worst_decile(values) == pytest.approx(np.arange(worst).mean())


@pytest.mark.parametrize(
    ("epsilons", "dice", "message"),
    [
        ([1, 2], [0.5, 0.4], r"ascending epsilons from 0, got \[1.0, 2.0\]"),
        ([0, 2, 1], [0.5, 0.4, 0.3], "ascending epsilons from 0"),
        ([0, 1, 1], [0.5, 0.4, 0.3], "ascending epsilons from 0"),
        ([0], [0.5], "at least two ascending"),
        ([0, 1], [0.5, float("nan")], "2 finite scores per curve"),
        ([0, 1], [0.5, 0.4, 0.3], "2 finite scores per curve"),
    ],
)
@pytest.mark.parametrize("summary", [area_under_curve, epsilon_at_half])
def test_refuses_what_is_no_curve(summary, epsilons, dice, message):
    with pytest.raises(ValueError, match=message):
        summary(epsilons, dice)


def test_half_is_of_one_curve():
    with pytest.raises(ValueError, match=r"one curve, got shape \(2, 2\)"):
        epsilon_at_half([0, 1], [[0.5, 0.4], [0.3, 0.2]])
