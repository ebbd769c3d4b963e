"""Images that are there twice, within a split and across splits."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

from palpate.data.annotations import SPLITS
from palpate.data.integrity.finding import Finding
from palpate.data.integrity.pictures import Likeness, Picture

_MOST_DIFFER = 0.5  # of shared names; by chance some patients are of one age and sex


def name_findings(pictures: Sequence[Picture]) -> Iterator[Finding]:
    """Names and groups that two splits share: leaks, or one name for different images.

    Where a name leads to two files, their pixels decide. Where it leads to one file, or to none,
    texts decide: if most of the shared names have other texts in the other split, they meant other
    images, and a flattened folder has lost one of each.
    """
    for one, other in combinations(SPLITS, 2):
        here, there = _by_name(pictures, one), _by_name(pictures, other)
        shared = [(here[name], there[name]) for name in here if name in there]
        collided = _collisions(shared)
        leaked = tuple(first.name for first, _ in shared if first.name not in collided)
        where = f"{one} and {other}"
        if leaked:
            message = (
                f"{where} share {_count(len(leaked), 'image')} by name; take them out of {one}."
            )
            yield Finding("leak-name", "error", message, leaked)
        yield from _collision_findings(where, [p for p in shared if p[0].name in collided])
        yield from _group_findings(one, other, pictures, collided)


def copy_findings(likenesses: Sequence[Likeness]) -> Iterator[Finding]:
    """Equal and nearly equal images; within a group near ones are what is to be expected."""
    by_place: dict[tuple[str, str, bool], list[Likeness]] = defaultdict(list)
    for likeness in likenesses:
        splits = sorted((likeness.first.split, likeness.second.split), key=SPLITS.index)
        if splits[0] != splits[1] or likeness.exact or not _same_group(likeness):
            by_place[splits[0], splits[1], likeness.exact].append(likeness)
    for (one, other, exact), some in by_place.items():
        pairs = _count(len(some), "pair")
        files = tuple(map(str, some))
        if one == other:
            check = "duplicates" if exact else "near-duplicates"
            how = "the same pixels" if exact else "nearly the same pixels"
            message = f"{one} has {pairs} of images with {how}; they count twice in every mean."
            yield Finding(check, "warning", message, files)
        else:
            check = "leak-content" if exact else "leak-near"
            how = "the same" if exact else "nearly the same"
            message = f"{one} and {other} share {pairs} of images with {how} pixels; drop one each."
            yield Finding(check, "error", message, files)


def _by_name(pictures: Sequence[Picture], split: str) -> dict[str, Picture]:
    return {picture.name: picture for picture in pictures if picture.split == split}


def _collisions(shared: Sequence[tuple[Picture, Picture]]) -> set[str]:
    """Names that mean different images."""
    told = {a.name: _digest(a) != _digest(b) for a, b in shared if _two_files(a, b)}
    untold = [(a, b) for a, b in shared if a.name not in told]
    differ = sum(_texts_differ(a, b) for a, b in untold)
    by_text = differ > _MOST_DIFFER * len(untold)
    return {name for name, other in told.items() if other} | (
        {a.name for a, _ in untold} if by_text else set()
    )


def _two_files(one: Picture, other: Picture) -> bool:
    return one.path != other.path and one.look is not None and other.look is not None


def _digest(picture: Picture) -> str:
    return picture.look.digest if picture.look else ""


def _texts_differ(one: Picture, other: Picture) -> bool:
    masks = one.texts.keys() & other.texts.keys()
    return any(one.texts[mask] != other.texts[mask] for mask in masks)


def _collision_findings(
    where: str, collided: Sequence[tuple[Picture, Picture]]
) -> Iterator[Finding]:
    apart = tuple(a.name for a, b in collided if _two_files(a, b))
    if apart:
        message = (
            f"{where} have {_count(len(apart), 'name')} in common that lead to different images; "
            "never put their files into one folder."
        )
        yield Finding("names", "warning", message, apart)
    together = tuple(a.name for a, b in collided if not _two_files(a, b))
    if together:
        message = (
            f"{where} have {_count(len(together), 'name')} in common with other texts: different "
            "images under one name, of which one folder can hold but one. Keep a folder per split."
        )
        yield Finding("names", "error", message, together)


def _group_findings(
    one: str, other: str, pictures: Sequence[Picture], collided: set[str]
) -> Iterator[Finding]:
    """A number that was given to two patients is no leak; its images show which it is."""
    groups: dict[str, set[str]] = {one: set(), other: set()}
    twofold = {p.group for p in pictures if p.name in collided}
    for picture in pictures:
        if picture.split in groups and picture.grouped:
            groups[picture.split].add(picture.group)
    shared = groups[one] & groups[other]
    torn = tuple(sorted(shared - twofold))
    if torn:
        message = (
            f"{one} and {other} share {_count(len(torn), 'patient or group', 'patients or groups')}"
            "; split by patient with `palpate data split`."
        )
        yield Finding("leak-group", "error", message, torn)


def _same_group(likeness: Likeness) -> bool:
    return likeness.first.grouped and likeness.first.group == likeness.second.group


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
