"""What every division of a data set owes its user."""

import random
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from palpate.data.splits import Item, deal, fold, splits_of_fold

THREE = {"train": 0.7, "val": 0.1, "test": 0.2}
DIVISIONS = [THREE, {"train": 0.8, "val": 0.1, "test": 0.1}, {"a": 0.5, "b": 0.5}]


@st.composite
def some_items(draw, most=12):
    """Patients with up to five images each."""
    counts = draw(st.lists(st.integers(1, 5), min_size=5, max_size=most * 4))
    sizes = draw(st.lists(st.floats(0, 1), min_size=sum(counts), max_size=sum(counts)))
    kinds = draw(st.lists(st.sampled_from("ab"), min_size=len(counts), max_size=len(counts)))
    names = iter(range(sum(counts)))
    return [
        Item(f"{next(names):03}.png", f"patient{group}", sizes.pop(), kinds[group])
        for group, count in enumerate(counts)
        for _ in range(count)
    ]


def lesions(count, seed=0):
    """Images of their own, with sizes as lesions have them: many small ones, few large."""
    sizes = np.random.default_rng(seed).lognormal(-2.5, 1.0, count).clip(0, 1)
    return [Item(f"{k:04}.png", f"{k:04}.png", float(size)) for k, size in enumerate(sizes)]


@given(some_items(), st.integers(0, 5), st.sampled_from(DIVISIONS))
def test_no_group_is_torn_and_no_item_lost(items, seed, fractions):
    split_of = deal(items, seed=seed, fractions=fractions)
    assert set(split_of) == {item.name for item in items}
    splits = defaultdict(set)
    for item in items:
        splits[item.group].add(split_of[item.name])
    assert all(len(some) == 1 for some in splits.values())
    assert set(split_of.values()) == set(fractions)


@given(some_items(), st.integers(0, 5), st.sampled_from(DIVISIONS))
def test_fractions_are_met_within_one_group(items, seed, fractions):
    largest = max(Counter(item.group for item in items).values())
    assume(min(fractions.values()) * len(items) >= largest)
    counts = Counter(deal(items, seed=seed, fractions=fractions).values())
    for split, share in fractions.items():
        assert abs(counts[split] - share * len(items)) < largest + 1e-6


@given(some_items(), st.integers(0, 5))
def test_the_order_of_the_items_changes_nothing(items, seed):
    shuffled = random.Random(seed).sample(items, len(items))
    assert deal(items, seed=seed) == deal(shuffled, seed=seed)


def test_the_seed_decides():
    items = lesions(100)
    assert deal(items, seed=1) == deal(items, seed=1)
    assert deal(items, seed=1) != deal(items, seed=2)


def test_seeds_give_every_image_a_chance_of_every_split():
    items = lesions(40)
    seen = defaultdict(set)
    for seed in range(60):
        for name, split in deal(items, seed=seed).items():
            seen[name].add(split)
    assert all(splits == {"train", "val", "test"} for splits in seen.values())


@pytest.mark.parametrize("seed", range(5))
def test_splits_have_lesions_of_all_sizes(seed):
    """Closer than chance brings them: the median of 20 tests drawn at random strays further."""
    items = lesions(200)
    size = {item.name: item.size for item in items}
    middle = np.median(list(size.values()))
    for split_of in (deal(items, seed=seed), fold(items, seed=seed, folds=5)):
        by_split = defaultdict(list)
        for name, split in split_of.items():
            by_split[split].append(size[name])
        for sizes in by_split.values():
            assert abs(np.mean(np.array(sizes) < middle) - 0.5) <= 0.1
            assert max(sizes) > np.quantile(list(size.values()), 0.9)


def test_every_split_has_its_part_of_each_kind():
    items = [
        Item(f"{k}.png", f"{k}.png", k / 300, "malignant" if k % 3 else "benign")
        for k in range(300)
    ]
    split_of = deal(items, seed=0, fractions=THREE)
    counts = Counter((split_of[item.name], item.kind) for item in items)
    for split, share in THREE.items():
        assert abs(counts[split, "benign"] - 100 * share) <= 1
        assert abs(counts[split, "malignant"] - 200 * share) <= 1


@given(some_items(), st.integers(3, 5), st.integers(0, 3))
def test_folds_are_of_one_size_within_one_group(items, folds, seed):
    largest = max(Counter(item.group for item in items).values())
    assume(len(items) / folds >= largest)
    counts = Counter(fold(items, seed=seed, folds=folds).values())
    assert set(counts) == set(range(folds))
    assert all(abs(counts[k] - len(items) / folds) < largest + 1e-6 for k in counts)


def test_every_item_is_tested_once_and_validated_once():
    folded = fold(lesions(50), seed=0, folds=5)
    turns = [splits_of_fold(folded, number, 5) for number in range(5)]
    for name in folded:
        assert Counter(turn[name] for turn in turns) == {"train": 3, "test": 1, "val": 1}


def test_few_groups_still_reach_every_split():
    items = [Item(f"{k}.png", str(k)) for k in range(3)]
    assert set(deal(items, seed=0).values()) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fractions": {"train": 0.5, "test": 0.4}}, "add up to 1, got train 0.5, test 0.4"),
        ({"fractions": {"train": 1.5, "test": -0.5}}, "at least 0"),
        ({"items": [Item("a", "a"), Item("b", "a"), Item("c", "b")]}, "at least 3 groups.* got 2"),
        ({"items": [Item("a", "a"), Item("a", "b"), Item("c", "c")]}, "different names"),
    ],
)
def test_senseless_divisions_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        deal(**{"items": lesions(10), "seed": 0} | change)


def test_two_folds_are_too_few():
    with pytest.raises(ValueError, match="folds >= 3"):
        fold(lesions(10), seed=0, folds=2)
