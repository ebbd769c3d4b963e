"""The intervals of the report, and how many images would decide. How often they are wrong is in
test_coverage.py."""

from math import inf, isnan

import numpy as np
import pytest
from scipy.stats import binomtest

from palpate.evaluation.statistics import intervals
from palpate.evaluation.statistics.decision import images_to_decide
from palpate.evaluation.statistics.intervals import (
    UNLIMITED,
    mean_interval,
    paired_difference,
    quantile_interval,
)
from palpate.evaluation.statistics.samples import differences


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
    same = paired_difference([0.9] * 10, [0.9] * 10)
    assert same.low == pytest.approx(-same.high, abs=0.02)
    assert same.high > 0.1
    assert paired_difference([0.9] * 100, [0.9] * 100).high < 0.001


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


def scores(count, seed=0):
    return np.random.default_rng(seed).beta(4, 1.2, count)


def test_a_lower_bound_weighs_the_values_and_half_a_zero_at_random():
    """Two values: the bound is a quantile of a mean whose weights are gamma variables."""
    rng = np.random.default_rng(5)
    weights = np.column_stack([rng.exponential(size=(400_000, 2)), rng.gamma(0.5, size=400_000)])
    means = (weights * [0.6, 0.8, 0.0]).sum(1) / weights.sum(1)
    assert mean_interval([0.6, 0.8]).low == pytest.approx(np.quantile(means, 0.025), abs=0.01)


def test_neither_order_nor_names_nor_copies_change_an_interval():
    values, groups = scores(40), np.array([f"patient-{i % 13}" for i in range(40)])
    found = mean_interval(values, groups)
    order = np.random.default_rng(1).permutation(40)
    moved = mean_interval(values[order], [f"x{name}" for name in groups[order]])
    assert (moved.low, moved.high) == pytest.approx((found.low, found.high), abs=1e-12)
    tenfold = mean_interval(np.repeat(values, 10), np.repeat(groups, 10))
    assert (tenfold.low, tenfold.high) == pytest.approx((found.low, found.high), abs=1e-12)
    assert (tenfold.n, tenfold.groups) == (400, 13)


def test_the_seed_decides_and_the_blocks_do_not(monkeypatch):
    values = scores(30)
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values, seed=1) != mean_interval(values)
    state = np.random.get_state()[1].copy()
    expected = mean_interval(values)
    assert (np.random.get_state()[1] == state).all()
    monkeypatch.setattr(intervals, "_AT_ONCE", 30_000)  # other random numbers, the same interval
    other = mean_interval(values)
    assert (other.low, other.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_more_confidence_is_wider():
    values = scores(50)
    narrow, wide = (mean_interval(values, confidence=c) for c in (0.8, 0.995))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_a_metric_without_limits_needs_thirty_groups():
    distances = np.random.default_rng(2).lognormal(2, 1, 30)
    found = mean_interval(distances, limits=(0, inf))
    assert 0 < found.low < found.value < found.high
    assert isnan(mean_interval(distances[:29], limits=(0, inf)).low)
    assert isnan(mean_interval(np.ones(40), limits=UNLIMITED).high)  # equal: nothing to go by


def test_differences_are_paired():
    assert differences([1.0, 2.0], [3.0, 5.0]).tolist() == [2, 3]
    before, after = scores(50), scores(50, 1)
    there, back = paired_difference(before, after), paired_difference(after, before)
    assert there.value == pytest.approx(np.mean(after - before))
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=0.01)
    assert paired_difference(before, before + 0.01).high < 0.02  # no more than what pairs vary
    with pytest.raises(ValueError, match="in pairs, got 2 before, 1 after"):
        paired_difference([1.0, 2.0], [3.0])
    with pytest.raises(ValueError, match="finite scores after, got 1 of 2"):
        paired_difference([1.0, 2.0], [3.0, float("nan")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": []}, "non-empty sequence"),
        ({"values": [0.1, float("nan")]}, "got 1 of 2 .* the first nan at position 1"),
        ({"values": [3.0, 70.0]}, "values from 0 to 1, got 3 to 70; pass the smallest"),
        ({"values": [0.1, 0.2], "groups": ["a", None]}, "got none for 1"),
        ({"values": [0.1, 0.2], "confidence": 95.0}, "confidence < 1, got 95"),
    ],
)
def test_refuses_what_has_no_interval(arguments, message):
    with pytest.raises(ValueError, match=message):
        mean_interval(**arguments)
