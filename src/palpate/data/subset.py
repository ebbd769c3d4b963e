"""Subsets of a split that cover as many patients as possible."""

from collections import defaultdict
from collections.abc import Sequence

from palpate.data.annotations import FileEntry
from palpate.data.dataset import DatasetSpec


def spread(
    entries: Sequence[FileEntry], limit: int | None, spec: DatasetSpec
) -> tuple[FileEntry, ...]:
    """Choose up to ``limit`` entries: one of each patient before a second one of any patient.

    A confidence interval over patients needs many patients, but the first entries of a file often
    belong to a single one. The choice starts at a different entry for successive patients, so that
    views and structures vary as well. A larger subset contains all smaller ones. If every image is
    its own patient, the subset consists of the first entries.

    Args:
        entries: Entries of a split.
        limit: Largest number of entries; None for all.
        spec: Derives the patient from a file name if the annotations do not name it.

    Returns:
        The chosen entries in their original order.
    """
    if limit is None or limit >= len(entries):
        return tuple(entries)
    places: dict[str, list[int]] = defaultdict(list)
    for place, entry in enumerate(entries):
        places[entry.group or spec.group(entry.image_name)].append(place)
    chosen = _in_turn(list(places.values()))[:limit]
    return tuple(entries[place] for place in sorted(chosen))


def _in_turn(groups: list[list[int]]) -> list[int]:
    """Members of all groups in round-robin order.

    >>> _in_turn([[0, 1], [2, 3], [4]])
    [0, 3, 4, 1, 2]
    """
    return [
        group[(turn + number) % len(group)]
        for turn in range(max(map(len, groups)))
        for number, group in enumerate(groups)
        if turn < len(group)
    ]
