"""A subset of a split that covers as many patients as possible."""

from collections import defaultdict
from collections.abc import Sequence

from palpate.data.annotations import FileEntry
from palpate.data.dataset import DatasetSpec


def spread(
    entries: Sequence[FileEntry], limit: int | None, spec: DatasetSpec
) -> tuple[FileEntry, ...]:
    """Up to ``limit`` entries in their order: one of each patient before a second one of any.

    A confidence interval over patients needs many of them, and the first entries of a file are
    often all of one. Successive patients start with different ones of their entries, so that views
    and structures alternate as well. A larger subset contains the smaller ones; where every image
    is its own patient, the subset is the first entries.

    Args:
        entries: Entries of a split.
        limit: Number of entries; None for all.
        spec: Gives the patient where the annotations do not.
    """
    if limit is None or limit >= len(entries):
        return tuple(entries)
    places: dict[str, list[int]] = defaultdict(list)
    for place, entry in enumerate(entries):
        places[entry.group or spec.group(entry.image_name)].append(place)
    chosen = _in_turn(list(places.values()))[:limit]
    return tuple(entries[place] for place in sorted(chosen))


def _in_turn(groups: list[list[int]]) -> list[int]:
    """Members of all groups, round robin.

    >>> _in_turn([[0, 1], [2, 3], [4]])
    [0, 3, 4, 1, 2]
    """
    return [
        group[(turn + number) % len(group)]
        for turn in range(max(map(len, groups)))
        for number, group in enumerate(groups)
        if turn < len(group)
    ]
