"""Some entries of a split that stand for all of it: few of many patients, not many of few."""

from collections import defaultdict
from collections.abc import Sequence

from palpate.data.annotations import FileEntry
from palpate.data.dataset import DatasetSpec


def spread(
    entries: Sequence[FileEntry], limit: int | None, spec: DatasetSpec
) -> tuple[FileEntry, ...]:
    """As many entries, in their order: one of each patient before a second one of any.

    An interval over patients is worth nothing where the first entries are all of one. Each patient
    begins with another of its entries than the patient before, so that views and structures take
    turns as well. More entries contain the fewer; where every image is a patient of its own, they
    are the first ones.

    Args:
        entries: Of a split.
        limit: How many; None for all.
        spec: Says whose image it is where the annotations do not.
    """
    if limit is None or limit >= len(entries):
        return tuple(entries)
    places: dict[str, list[int]] = defaultdict(list)
    for place, entry in enumerate(entries):
        places[entry.group or spec.group(entry.image_name)].append(place)
    chosen = _in_turn(list(places.values()))[:limit]
    return tuple(entries[place] for place in sorted(chosen))


def _in_turn(groups: list[list[int]]) -> list[int]:
    """Members of all groups, a turn each.

    >>> _in_turn([[0, 1], [2, 3], [4]])
    [0, 3, 4, 1, 2]
    """
    return [
        group[(turn + number) % len(group)]
        for turn in range(max(map(len, groups)))
        for number, group in enumerate(groups)
        if turn < len(group)
    ]
