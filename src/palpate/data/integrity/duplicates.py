"""Checks for duplicate images within a split, across splits and across data sets."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import combinations

from palpate.data.annotations import SPLITS
from palpate.data.integrity.finding import Finding, Severity
from palpate.data.integrity.images import DuplicatePair, ListedImage, duplicate_pairs
from palpate.data.integrity.survey import Survey

# Fraction of shared names whose prompts must differ; some agree by chance (same age and sex).
_MOST_DIFFER = 0.5


def name_findings(pictures: Sequence[ListedImage]) -> Iterator[Finding]:
    """Find names and groups that two splits share: leakage, or one name for different images.

    If a name refers to two files, their pixels are compared. If it refers to a single file or to
    none, the prompts are compared: if most shared names have different prompts in the two splits,
    the names meant different images, and one image of each pair was lost when folders were merged.
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


def duplicate_findings(found: Sequence[DuplicatePair]) -> Iterator[Finding]:
    """Find duplicates and near duplicates, except near duplicates of one patient in one split."""
    by_place: dict[tuple[str, str, bool], list[DuplicatePair]] = defaultdict(list)
    for pair in found:
        splits = sorted((pair.first.split, pair.second.split), key=SPLITS.index)
        if splits[0] != splits[1] or pair.exact or not _same_group(pair):
            by_place[splits[0], splits[1], pair.exact].append(pair)
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


def annotation_findings(sets: Sequence[Survey]) -> Iterator[Finding]:
    """Find data sets with the same entries: one of them has the annotation file of the other."""
    for one, other in combinations(sets, 2):
        same = [
            s for s in SPLITS if one.of(s) and _entries_digest(one, s) == _entries_digest(other, s)
        ]
        if same:
            count = sum(len(one.of(split)) for split in same)
            message = (
                f"{one.name} and {other.name} have the same annotations in {', '.join(same)} "
                f"({count} entries): one of them has the other's file."
            )
            files = tuple(f"{found.name}/anns/{s}.json" for s in same for found in (one, other))
            yield Finding("same-annotations", "error", message, files)


def shared_images(pictures: Sequence[ListedImage]) -> Iterator[Finding]:
    """Find images that two data sets share; an error if one is a test image and the other not."""
    found: dict[tuple[str, str], list[tuple[bool, str]]] = defaultdict(list)
    for pair in duplicate_pairs(list(pictures)):
        one, other = pair.first, pair.second
        if one.dataset != other.dataset:
            grave = (one.split == "test") != (other.split == "test")
            found[one.dataset, other.dataset].append((grave, str(pair)))
    for (one_name, other_name), some in found.items():
        grave = any(grave for grave, _ in some)
        message = f"{one_name} and {other_name} share {len(some)} images, by pixels or nearly" + (
            ": training on one and testing on the other leaks." if grave else "."
        )
        severity: Severity = "error" if grave else "warning"
        yield Finding("shared-images", severity, message, tuple(text for _, text in some))


def _by_name(pictures: Sequence[ListedImage], split: str) -> dict[str, ListedImage]:
    return {picture.name: picture for picture in pictures if picture.split == split}


def _collisions(shared: Sequence[tuple[ListedImage, ListedImage]]) -> set[str]:
    """Names that refer to different images in two splits."""
    told = {a.name: _digest(a) != _digest(b) for a, b in shared if _two_files(a, b)}
    untold = [(a, b) for a, b in shared if a.name not in told]
    differ = sum(_texts_differ(a, b) for a, b in untold)
    by_text = differ > _MOST_DIFFER * len(untold)
    return {name for name, other in told.items() if other} | (
        {a.name for a, _ in untold} if by_text else set()
    )


def _two_files(one: ListedImage, other: ListedImage) -> bool:
    return one.path != other.path and one.summary is not None and other.summary is not None


def _digest(picture: ListedImage) -> str:
    return picture.summary.digest if picture.summary else ""


def _texts_differ(one: ListedImage, other: ListedImage) -> bool:
    masks = one.texts.keys() & other.texts.keys()
    return any(one.texts[mask] != other.texts[mask] for mask in masks)


def _collision_findings(
    where: str, collided: Sequence[tuple[ListedImage, ListedImage]]
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
            f"{where} have {_count(len(together), 'name')} in common with other prompts: different "
            "images under one name, but a folder can hold only one. Keep one folder per split."
        )
        yield Finding("names", "error", message, together)


def _group_findings(
    one: str, other: str, pictures: Sequence[ListedImage], collided: set[str]
) -> Iterator[Finding]:
    """Find groups in two splits, except identifiers that were given to two different patients."""
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


def _same_group(pair: DuplicatePair) -> bool:
    return pair.first.grouped and pair.first.group == pair.second.group


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _entries_digest(found: Survey, split: str) -> str:
    """Hash of the entries of a split that does not depend on their order."""
    entries = sorted(
        repr((r.entry.image_name, r.entry.mask_name, r.entry.prompts)) for r in found.of(split)
    )
    return blake2b("\n".join(entries).encode()).hexdigest()
