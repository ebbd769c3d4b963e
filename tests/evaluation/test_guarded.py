"""Intervals for decisions: how often their bounds are wrong, and how many images would decide."""

from math import inf, isnan

import numpy as np
import pytest
from scipy.stats import binomtest

from palpate.evaluation.statistics.guarded import (
    images_to_decide,
    mean_interval,
    quantile_interval,
)


def skewed(rng, count):
    """DSC of a good model that fails on one image in ten."""
    good = rng.beta(12, 2, count)
    return np.where(rng.random(count) < 0.1, rng.uniform(0, 0.4, count), good)


def all_but_few(rng, count):
    return (rng.random(count) < 0.95).astype(float)


def attacked(rng, count):
    return rng.beta(0.6, 1.2, count)


POPULATIONS = {"skewed": skewed, "shares": all_but_few, "attacked": attacked}


def wrong(intervals, truth):
    """Shares of lower bounds above and of upper bounds below the truth."""
    low = np.mean([each.low > truth for each in intervals])
    return low, np.mean([each.high < truth for each in intervals])


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 10, 20, 50])
@pytest.mark.parametrize("draw", POPULATIONS.values(), ids=POPULATIONS)
def test_bounds_are_wrong_no_more_often_than_said(draw, count):
    rng = np.random.default_rng(count)
    population = draw(rng, 400_000)
    means = [mean_interval(draw(rng, count)) for _ in range(1000)]
    pairs = np.repeat(np.arange(count), 2)
    paired = [mean_interval(np.repeat(draw(rng, count), 2), pairs) for _ in range(1000)]
    tenths = [quantile_interval(draw(rng, count), 0.1) for _ in range(300)]
    for intervals in (means, paired):
        assert max(wrong(intervals, population.mean())) <= 0.045  # 2.5 % and the simulation's error
    assert max(wrong(tenths, np.quantile(population, 0.1))) <= 0.055


def test_the_lower_bound_of_few_skewed_scores_is_not_above_the_mean():
    """The percentile bootstrap is wrong here in a quarter of all samples."""
    rng = np.random.default_rng(0)
    truth = skewed(rng, 200_000).mean()
    low, high = wrong([mean_interval(skewed(rng, 10)) for _ in range(200)], truth)
    assert max(low, high) <= 0.05


def test_a_share_of_independent_images_has_the_exact_interval():
    values = [1.0] * 18 + [0.0] * 2
    exact = binomtest(18, 20).proportion_ci(0.95, method="exact")
    found = mean_interval(values)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert quantile_interval(values, 0.5).value == 1


def test_equal_values_do_not_get_an_interval_of_width_zero():
    found = mean_interval([0.9] * 10)
    assert found.low < 0.75
    assert 0.9 < found.high < 1


def test_images_of_one_patient_count_once():
    values = np.linspace(0.5, 0.9, 20)
    alone, together = mean_interval(values), mean_interval(values, np.arange(20) // 4)
    assert together.low < alone.low
    assert together.high > alone.high
    assert together.groups == 5
    assert isnan(mean_interval(values, ["one"] * 20).low)
    assert isnan(quantile_interval(values, 0.5, ["one"] * 20).low)


def test_images_that_no_attack_breaks_have_an_infinite_radius():
    found = quantile_interval([1.0] * 12 + [2.0] * 12 + [inf] * 6, 0.5, limits=(0, inf))
    assert found.value == 2
    assert (found.low, found.high) == (1, 2)
    assert quantile_interval([inf] * 20, 0.5, limits=(0, inf)).low == inf


def test_the_number_of_images_that_is_named_decides():
    rng = np.random.default_rng(1)
    values = rng.normal(0.8, 0.1, 12).clip(0, 1)
    values += 0.8 - values.mean()
    needed = images_to_decide(values, 0.75)
    assert 20 < needed < 200
    samples = (rng.normal(0.8, values.std(ddof=1), needed).clip(0, 1) for _ in range(200))
    decided = np.mean([mean_interval(sample).low >= 0.75 for sample in samples])
    assert 0.7 < decided < 0.97
    assert images_to_decide(values, values.mean()) is None
    assert images_to_decide([0.5, 0.5], 0.4, ["a", "a"]) is None
