"""Random assignment to splits, grouped by patient and stratified by lesion size."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isclose

import torch

from palpate.data.problems import refuse
from palpate.randomness import generator

FRACTIONS: Mapping[str, float] = {"train": 0.7, "val": 0.1, "test": 0.2}

_MOST_STRATA = 10  # strata of lesion size within a kind
_ROUNDING = 1e-9  # differences below this are rounding errors, which must not break ties


@dataclass(frozen=True)
class Item:
    """An image to be assigned to a split.

    Attributes:
        name: Name of the image, unique among the items.
        group: Unit that gets one split, such as a patient.
        size: Area of the lesion as a fraction of the image; 0 if there is no lesion.
        kind: Class to stratify by besides size, such as ``benign``.
    """

    name: str
    group: str
    size: float = 0.0
    kind: str = ""


def deal(
    items: Iterable[Item], *, seed: int, fractions: Mapping[str, float] = FRACTIONS
) -> dict[str, str]:
    """Assign items to splits at random, grouped and stratified.

    Groups are divided into strata of equal kind and similar mean size. Within a stratum, groups are
    assigned in random order, each to the split that is furthest below its target. Deviations carry
    over to the next stratum, so that in the end no split deviates from its fraction by more than
    the size of the largest group.

    Args:
        items: Items in any order, which does not change the result.
        seed: Seed of the order within each stratum.
        fractions: Fraction of each split; they add up to 1. A split with fraction 0 gets no items.

    Returns:
        The split of each item, by name.

    Raises:
        ValueError: If a fraction is negative or they do not add up to 1, names are not unique, or
            there are fewer groups than splits.
    """
    ordered = sorted(items, key=lambda item: item.name)
    shares = {split: share for split, share in fractions.items() if share > 0}
    _check(ordered, fractions, shares)
    groups = _grouped(ordered)
    split_of = _dealt(_strata(groups, shares), shares, seed)
    _fill_empty(split_of, groups, shares)
    return {item.name: split_of[item.group] for item in ordered}


def fold(items: Iterable[Item], *, seed: int, folds: int) -> dict[str, int]:
    """Assign items to folds of equal size, for cross-validation.

    Args:
        items: Items in any order.
        seed: Seed, see :func:`deal`.
        folds: Number of folds, at least 3: one for test, one for validation, the others for
            training.

    Returns:
        The fold of each item by name, counted from 0.

    Raises:
        ValueError: If there are too few folds, or fewer groups than folds.
    """
    if folds < 3:
        raise ValueError(
            f"Expected folds >= 3 (test, validation and training), got {folds}. For a single "
            "division use fractions."
        )
    dealt = deal(items, seed=seed, fractions={str(k): 1 / folds for k in range(folds)})
    return {name: int(number) for name, number in dealt.items()}


def splits_of_fold(folded: Mapping[str, int], number: int, folds: int) -> dict[str, str]:
    """Splits of one round of cross-validation.

    Args:
        folded: Fold of each item by name, see :func:`fold`.
        number: Fold that is the test split; the next one is the validation split.
        folds: Number of folds.

    Returns:
        The split of each item by name.
    """
    turn = {number: "test", (number + 1) % folds: "val"}
    return {name: turn.get(mine, "train") for name, mine in folded.items()}


def _check(
    items: Sequence[Item], fractions: Mapping[str, float], shares: Mapping[str, float]
) -> None:
    if any(share < 0 for share in fractions.values()) or not isclose(
        sum(fractions.values()), 1, abs_tol=1e-6
    ):
        listed = ", ".join(f"{split} {share:g}" for split, share in fractions.items())
        raise ValueError(f"Expected fractions of at least 0 that add up to 1, got {listed}.")
    names = [item.name for item in items]
    twice = sorted({one for one, other in pairwise(names) if one == other})
    refuse(twice, "Expected items of different names, got", remedy="Rename them.")
    count = len({item.group for item in items})
    if count < len(shares):
        raise ValueError(
            f"Expected at least {len(shares)} groups for {', '.join(shares)}, got {count}. "
            "Ask for fewer splits."
        )


def _grouped(items: Sequence[Item]) -> dict[str, list[Item]]:
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.group].append(item)
    return dict(sorted(groups.items()))


def _strata(
    groups: Mapping[str, list[Item]], shares: Mapping[str, float]
) -> list[list[tuple[str, int]]]:
    """Groups with their numbers of items, in strata: kind by kind, from small to large lesions."""
    kinds: dict[str, list[tuple[float, str, int]]] = defaultdict(list)
    for name, some in groups.items():
        size = sum(item.size for item in some) / len(some)
        kinds["+".join(sorted({item.kind for item in some}))].append((size, name, len(some)))
    least = round(1 / min(shares.values()))  # groups per group of the smallest split
    strata = []
    for _, members in sorted(kinds.items()):
        members.sort()
        count = max(1, min(_MOST_STRATA, len(members) // least))
        edges = [round(k * len(members) / count) for k in range(count + 1)]
        strata += [
            [(name, number) for _, name, number in members[start:end]]
            for start, end in pairwise(edges)
        ]
    return strata


def _dealt(
    strata: Sequence[Sequence[tuple[str, int]]], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """The split of each group; ``lacks`` is the number of items that each split is below target."""
    split_of: dict[str, str] = {}
    lacks = dict.fromkeys(shares, 0.0)
    for number, stratum in enumerate(strata):
        source = generator(seed, "splits", number)
        total = sum(count for _, count in stratum)
        for split, share in shares.items():
            lacks[split] += share * total
        for index in torch.randperm(len(stratum), generator=source).tolist():
            name, count = stratum[index]
            split = max(lacks, key=lambda split: round(lacks[split] / _ROUNDING))
            split_of[name] = split
            lacks[split] -= count
    return split_of


def _fill_empty(
    split_of: dict[str, str], groups: Mapping[str, list[Item]], shares: Mapping[str, float]
) -> None:
    """Move the smallest group of the largest split to each empty split, if groups are few."""
    for split in shares:
        if split in split_of.values():
            continue
        held = {s: [g for g, its in split_of.items() if its == s] for s in shares}
        giver = max(held, key=lambda s: len(held[s]))
        split_of[min(held[giver], key=lambda g: (len(groups[g]), g))] = split
