from math import isnan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from palpate.evaluation.statistics import bootstrap as statistics
from palpate.evaluation.statistics.bootstrap import bootstrap_interval

METHODS = ["percentile", "bca"]
every_method = pytest.mark.parametrize("method", METHODS)
scores = st.floats(0, 1)


def bounds(interval):
    return interval.low, interval.high


def skewed(n, seed=0):
    return np.random.default_rng(seed).beta(4, 1.2, size=n)


@given(
    st.lists(st.tuples(scores, st.integers(0, 4)), min_size=1, max_size=20),
    st.sampled_from(METHODS),
)
def test_an_interval_lies_within_the_values(pairs, method):
    values, groups = zip(*pairs, strict=True)
    interval = bootstrap_interval(values, groups, resamples=200, method=method)
    assert interval.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert (interval.n, interval.groups) == (len(values), len(set(groups)))
    if interval.groups > 1:
        assert min(values) - 1e-12 <= interval.low <= interval.high <= max(values) + 1e-12


@pytest.mark.reference
@pytest.mark.parametrize(("method", "theirs"), [("percentile", "percentile"), ("bca", "BCa")])
def test_agrees_with_scipy_within_monte_carlo_error(method, theirs):
    values = skewed(60)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method=theirs, random_state=np.random.default_rng(7)
    ).confidence_interval
    interval = bootstrap_interval(values, resamples=20_000, method=method)
    assert bounds(interval) == pytest.approx(tuple(expected), abs=0.03 * np.ptp(expected))


def test_bca_follows_the_skew_that_percentile_ignores():
    values = skewed(60)  # a tail towards low scores
    assert bootstrap_interval(values, method="bca").low < bootstrap_interval(values).low


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (1, 2, 3, 10)])
def test_draws_whole_groups(sizes):
    """With so few groups every possible draw can be listed."""
    rng = np.random.default_rng(3)
    clusters = [rng.random(size) for size in sizes]
    means = [
        np.concatenate([clusters[i] for i in draw]).mean()
        for draw in np.ndindex(*[len(sizes)] * len(sizes))
    ]
    groups = np.repeat(["d", "b", "c", "a"], sizes)
    interval = bootstrap_interval(
        np.concatenate(clusters), groups, confidence=0.8, resamples=50_000, seed=1
    )
    expected = np.quantile(means, [0.1, 0.9])
    assert bounds(interval) == pytest.approx(tuple(expected), abs=0.03 * np.ptp(expected))


@every_method
def test_copies_within_a_group_add_nothing(method):
    values = skewed(30)
    once = bootstrap_interval(values, np.arange(30), method=method)
    tenfold = bootstrap_interval(np.repeat(values, 10), np.repeat(np.arange(30), 10), method=method)
    assert bounds(tenfold) == pytest.approx(bounds(once))
    assert (tenfold.n, tenfold.groups) == (300, 30)
    naive = bootstrap_interval(np.repeat(values, 10), method=method)
    assert naive.high - naive.low < 0.5 * (once.high - once.low)


@every_method
def test_groups_of_one_are_no_groups(method):
    values = skewed(25)
    alone = bootstrap_interval(values, method=method)
    assert bootstrap_interval(values, range(25), method=method) == alone


@every_method
def test_the_order_of_rows_changes_nothing_where_groups_are_named(method):
    values, groups = skewed(40), np.array([f"patient-{i % 13}" for i in range(40)])
    order = np.random.default_rng(1).permutation(40)
    shuffled = bootstrap_interval(values[order], groups[order], method=method)
    expected = bootstrap_interval(values, groups, method=method)
    assert bounds(shuffled) == pytest.approx(bounds(expected), abs=1e-12)


def test_the_seed_decides():
    values = skewed(30)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)
    state = np.random.get_state()[1].copy()
    bootstrap_interval(values)
    assert (np.random.get_state()[1] == state).all()


@every_method
def test_the_size_of_a_chunk_changes_nothing(monkeypatch, method):
    values, groups = skewed(50), np.arange(50) // 3
    expected = bootstrap_interval(values, groups, method=method, resamples=1000)
    monkeypatch.setattr(statistics, "_DRAWS_AT_ONCE", 100)
    assert bootstrap_interval(values, groups, method=method, resamples=1000) == expected


def test_more_confidence_is_wider():
    values = skewed(50)
    narrow, wide = (bootstrap_interval(values, confidence=c) for c in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_moving_and_scaling_values_moves_and_scales_the_interval():
    values = skewed(50)
    for method in METHODS:
        low, high = bounds(bootstrap_interval(values, method=method))
        moved = bounds(bootstrap_interval(100 * values - 3, method=method))
        assert moved == pytest.approx((100 * low - 3, 100 * high - 3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "grouped"), [("percentile", False), ("bca", False), ("percentile", True)]
)
def test_covers_the_true_mean_about_as_often_as_it_says(method, grouped):
    rng = np.random.default_rng(0)
    trials, hits = 400, 0
    groups = np.repeat(np.arange(40), 3) if grouped else None
    for trial in range(trials):
        values = rng.normal(size=40)
        if grouped:
            values = np.repeat(values, 3) + 0.3 * rng.normal(size=120)
        interval = bootstrap_interval(values, groups, 0.9, resamples=500, seed=trial, method=method)
        hits += interval.low <= 0 <= interval.high
    # 0.9 less the known optimism of about 0.015 at n = 40; standard error 0.016.
    assert 0.84 < hits / trials < 0.93


@every_method
@pytest.mark.parametrize("value", [0.0, 0.1, 0.7])
def test_equal_values_give_a_point(method, value):
    interval = bootstrap_interval([value] * 7, [0, 0, 0, 1, 1, 2, 3], method=method)
    assert interval.low == interval.mean == interval.high == pytest.approx(value)


@every_method
@pytest.mark.parametrize(
    ("values", "groups"), [([0.4], None), ([0.4], ["a"]), ([0.3, 0.5], [1, 1])]
)
def test_one_group_has_a_mean_but_no_interval(method, values, groups):
    interval = bootstrap_interval(values, groups, method=method)
    assert interval.mean == pytest.approx(0.4)
    assert isnan(interval.low)
    assert isnan(interval.high)


def test_takes_columns_of_a_table():
    table = pd.DataFrame(
        {"dice": [0.2, 0.4, 0.9], "group": pd.Series(["b", "a", "c"], dtype="string")}
    )
    interval = bootstrap_interval(table["dice"], table["group"])
    assert interval == bootstrap_interval([0.2, 0.4, 0.9], ["b", "a", "c"])
    assert bootstrap_interval(table["dice"][1:], table["group"][1:].astype("category")).n == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": []}, "non-empty sequence, got shape .0,"),
        ({"values": [[0.1], [0.2]]}, "flat, non-empty sequence, got shape .2, 1."),
        (
            {"values": [0.1, float("nan"), float("inf")]},
            "got 2 of 3 .* the first nan at position 1",
        ),
        ({"values": [0.1, 0.2], "groups": ["a"]}, r"one group per value \(2\), got 1"),
        ({"values": [0.1, 0.2], "groups": ["a", None]}, "group for every value, got none for 1"),
        ({"values": [0.1, 0.2], "groups": [1.0, float("nan")]}, "got none for 1"),
        ({"values": [0.1, 0.2], "confidence": 95.0}, "confidence < 1, got 95"),
        ({"values": [0.1, 0.2], "resamples": 10}, "resamples >= 100, got 10"),
    ],
)
def test_refuses_what_has_no_interval(arguments, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(**arguments)
