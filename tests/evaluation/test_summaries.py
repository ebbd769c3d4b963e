from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palpate.evaluation.statistics.curves import (
    area_under_curve,
    epsilon_at_half,
    median_radius,
    worst_decile,
)

EPSILONS = np.array([0, 1, 2, 4, 8]) / 255


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


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=30))
def test_half_of_the_images_break_within_the_median_radius(images):
    lengths, broken = zip(*images, strict=True)
    found = median_radius(lengths, broken)
    radii = np.where(broken, lengths, np.inf)
    assert (radii <= found.median).mean() >= 0.5
    if np.isfinite(found.median):
        assert (radii < found.median).mean() < 0.5
    else:
        assert np.isinf(radii).mean() > 0.5
    assert found.unbroken == broken.count(False)
    assert len(images) == 1 or found.low <= found.median <= found.high


def test_radius_interval_agrees_with_resampling_one_by_one():
    rng = np.random.default_rng(3)
    lengths, broken = rng.random(60), rng.random(60) < 0.8
    radii, groups = np.where(broken, lengths, np.inf), np.arange(60) // 2
    medians = []
    for _ in range(2000):
        drawn = np.concatenate([radii[groups == g] for g in rng.integers(0, 30, 30)])
        medians.append(np.sort(drawn)[29])
    found = median_radius(lengths, broken, groups)
    assert (found.groups, found.n) == (30, 60)
    expected = np.quantile(medians, [0.025, 0.975], method="nearest")
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.06)


def test_the_length_of_what_was_not_broken_does_not_matter():
    broken = [True, False, True, True, False]
    first, second = (median_radius([1, x, 2, 3, x], broken) for x in (0.0, 99.0))
    assert first == second
    assert median_radius([1, 2], [False, False]).high == np.inf


@pytest.mark.parametrize(
    ("lengths", "message"),
    [([], "non-empty"), ([-1.0], "lengths >= 0, got -1.0"), ([float("nan")], "finite lengths")],
)
def test_refuses_what_is_no_radius(lengths, message):
    with pytest.raises(ValueError, match=message):
        median_radius(lengths, [True] * len(lengths))
