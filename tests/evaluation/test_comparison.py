import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from palpate.evaluation.statistics import significance as comparison
from palpate.evaluation.statistics.significance import holm, paired_test

TESTS = ["wilcoxon", "permutation"]
every_test = pytest.mark.parametrize("test", TESTS)
scores = st.floats(0, 1, width=16)


def pairs(n, shift, seed=0):
    rng = np.random.default_rng(seed)
    before = rng.random(n)
    return before, before + shift + 0.2 * rng.normal(size=n)


@pytest.mark.reference
def test_wilcoxon_equals_scipy():
    before, after = pairs(40, -0.05)
    assert paired_test(before, after).p_value == stats.wilcoxon(after - before).pvalue
    after[:3] = before[:3]  # scipy leaves them out too, but then falls back on the normal law
    assert paired_test(before, after).p_value == stats.wilcoxon((after - before)[3:]).pvalue
    normal = stats.wilcoxon(after - before).pvalue
    assert paired_test(before, after).p_value == pytest.approx(normal, abs=0.02)


def test_permutation_of_few_groups_tries_every_sign():
    before, after = pairs(8, -0.1)
    signs = np.array(list(np.ndindex(*[2] * 8))) * 2 - 1
    sums = np.abs(signs @ (after - before))
    expected = np.mean(sums >= sums[-1] - 1e-12)
    assert paired_test(before, after, test="permutation").p_value == pytest.approx(expected)


def test_permutation_flips_whole_groups():
    before, after = pairs(36, -0.1)
    groups = np.repeat(np.arange(8), range(1, 9))
    sums = np.bincount(groups, after - before)
    signs = np.array(list(np.ndindex(*[2] * 8))) * 2 - 1
    expected = np.mean(np.abs(signs @ sums) >= np.abs(sums.sum()) - 1e-12)
    outcome = paired_test(before, after, groups, test="permutation")
    assert outcome.p_value == pytest.approx(expected)


def test_wilcoxon_compares_group_means():
    before, after = pairs(30, -0.05)
    groups = np.repeat(np.arange(10), [1, 1, 1, 2, 2, 3, 3, 3, 4, 10])
    means = np.bincount(groups, after - before) / np.bincount(groups)
    outcome = paired_test(before, after, groups)
    assert outcome.p_value == pytest.approx(stats.wilcoxon(means).pvalue)
    assert (outcome.n, outcome.groups) == (30, 10)


@every_test
def test_copies_within_a_group_add_no_evidence(test):
    before, after = pairs(12, -0.05)
    copies = [np.repeat(values, 20) for values in (before, after)]
    alone = paired_test(before, after, test=test)
    grouped = paired_test(*copies, np.repeat(np.arange(12), 20), test=test)
    assert grouped.p_value == pytest.approx(alone.p_value)
    assert grouped.effect == pytest.approx(alone.effect)
    assert paired_test(*copies, test=test).p_value < alone.p_value


def test_permutation_and_wilcoxon_agree_roughly_and_the_seed_decides():
    before, after = pairs(60, -0.05)
    one = paired_test(before, after, test="permutation", seed=1)
    assert one == paired_test(before, after, test="permutation", seed=1)
    other = paired_test(before, after, test="permutation", seed=2)
    assert one.p_value != other.p_value
    assert one.p_value == pytest.approx(other.p_value, abs=0.01)
    t_test = stats.ttest_rel(before, after).pvalue
    assert one.p_value == pytest.approx(t_test, abs=0.015)


def test_the_size_of_a_chunk_changes_nothing(monkeypatch):
    before, after = pairs(30, -0.05)
    expected = paired_test(before, after, test="permutation", resamples=500)
    monkeypatch.setattr(comparison, "_FLIPS_AT_ONCE", 100)
    assert paired_test(before, after, test="permutation", resamples=500) == expected


def test_permutation_is_never_certain():
    before = np.random.default_rng(0).random(50)
    outcome = paired_test(before, before - 0.5, test="permutation", resamples=999)
    assert outcome.p_value == pytest.approx(2 / 1000)


@every_test
@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=10))
def test_swapping_the_sides_turns_the_effect_round(test, values):
    before, after = zip(*values, strict=True)
    there, back = (paired_test(*order, test=test) for order in ((before, after), (after, before)))
    assert there.p_value == pytest.approx(back.p_value)
    assert 0 < there.p_value <= 1
    assert there.effect == pytest.approx(-back.effect, abs=1e-12)
    assert -1 <= there.effect <= 1
    assert there.difference == pytest.approx(np.mean(after) - np.mean(before), abs=1e-12)


def test_effect_is_the_share_of_ranks_that_rose_minus_the_share_that_fell():
    before = np.zeros(5)
    after = np.array([0.1, 0.15, -0.2, 0.9, 0.0])  # ranks 1, 2, 3 (fell), 4; no difference
    assert paired_test(before, after).effect == pytest.approx((7 - 3) / 10)
    after = np.array([0.1, -0.9, 0.0, 0.0, 0.0])
    assert paired_test(before, after).effect == pytest.approx((1 - 2) / 3)
    assert paired_test(before, -np.arange(1.0, 6)).effect == -1
    tied = paired_test(before[:3], [0.5, 0.5, -0.5])  # all of rank 2
    assert tied.effect == pytest.approx(1 / 3)


@every_test
@pytest.mark.parametrize("groups", [None, [0, 0, 1, 1]])
def test_no_difference_is_no_evidence(test, groups):
    outcome = paired_test([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4], groups, test=test)
    assert (outcome.p_value, outcome.effect, outcome.difference) == (1, 0, 0)


@every_test
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_few_pairs_prove_nothing(test, n):
    assert paired_test([0.9] * n, [0.1] * n, test=test).p_value >= 2 / 2**n
    assert paired_test([0.9] * n, [0.1] * n, [0] * n, test=test).p_value == 1


@pytest.mark.slow
@every_test
def test_false_alarms_come_as_often_as_the_level_says(test):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(15), 3)
    alarms = [
        paired_test(
            np.zeros(45),
            np.repeat(rng.normal(size=15), 3) + 0.2 * rng.normal(size=45),
            groups,
            test=test,
            resamples=300,
            seed=trial,
        ).p_value
        <= 0.05
        for trial in range(400)
    ]
    assert 0.02 < np.mean(alarms) < 0.085  # standard error 0.011; without groups it is 0.2


@every_test
def test_refuses_scores_that_are_not_numbers(test):
    with pytest.raises(ValueError, match="finite scores before, got 1 of 2"):
        paired_test([float("nan"), 0.1], [0.1, 0.1], test=test)
    with pytest.raises(ValueError, match="in pairs, got 3 before, 2 after"):
        paired_test([0.2, 0.1, 0.3], [0.1, 0.1], test=test)


def test_holm_on_an_example_worked_by_hand():
    p = [0.01, 0.04, 0.03, 0.005]
    # Sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2, then 0.04 * 1 lifted to the one before it.
    assert holm(p).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]).tolist() == [1, 1]
    assert holm([0.2]).tolist() == [0.2]


probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(probabilities, st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(p, level):
    rejected = set()
    for passed, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[index] * (len(p) - passed) > level:
            break
        rejected.add(index)
    assert {i for i, adjusted in enumerate(holm(p)) if adjusted <= level} == rejected


@given(probabilities)
def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferroni(p):
    raw, adjusted = np.array(p), holm(p)
    assert (np.diff(adjusted[np.argsort(raw, kind="stable")]) >= 0).all()
    assert (adjusted >= raw).all()
    assert (adjusted <= np.minimum(raw * len(p), 1)).all()


@pytest.mark.parametrize(
    ("p", "message"),
    [
        ([0.1, 1.2], r"p-values in \[0, 1\], got 0.1 to 1.2"),
        ([0.1, float("nan")], "finite p-values, got 1 of 2"),
    ],
)
def test_holm_refuses_what_is_no_probability(p, message):
    with pytest.raises(ValueError, match=message):
        holm(p)
