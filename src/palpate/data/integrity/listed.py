"""Checks of the annotations, on their own and against the files of the folder."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from palpate.data.annotations import SPLITS
from palpate.data.integrity.finding import Finding
from palpate.data.integrity.survey import Record, Survey


def listing_findings(found: Survey) -> Iterator[Finding]:
    """Find repeated entries, entries with the same key, and names that differ only in case."""
    for split in SPLITS:
        yield from _within(split, found.of(split))
    yield from _differing_in_case(found)


def file_findings(found: Survey) -> Iterator[Finding]:
    """Find entries without files, files without entries, and links to outside the folder."""
    if not found.images and not found.masks:
        message = "There are no images and no masks; only the annotations were checked."
        yield Finding("missing", "error", message, ("images/", "masks/"))
        return
    paths = dict.fromkeys(p for r in found.records for p in (r.entry.image, r.entry.mask))
    missing = tuple(_below(path, found.folder) for path in paths if not path.is_file())
    if missing:
        message = (
            f"{len(missing)} annotated files are not there; complete the data set or take their "
            "entries out."
        )
        yield Finding("missing", "error", message, missing)
    inside = found.folder.resolve()
    out = tuple(
        f"{_below(path, found.folder)} -> {path.resolve()}"
        for path in paths
        if path.is_file() and inside not in path.resolve().parents
    )
    if out:
        message = f"{len(out)} files are links to places outside the folder; copy the files there."
        yield Finding("links", "error", message, out)
    yield from _unlisted(found, {str(path) for path in paths})


def count_findings(found: Survey, official: Mapping[str, int]) -> Iterator[Finding]:
    """Find numbers of images that differ from the official ones.

    Args:
        found: Survey of the folder.
        official: Official number of images by split, and in total under ``all``.
    """
    images = {s: len({r.entry.image_name for r in found.of(s)}) for s in SPLITS}
    if "val" not in official:  # users take validation from training images
        images["train"] += images["val"]
    every = {(r.entry.image_name, r.entry.image) for r in found.records}
    there = images | {"all": len(every)}
    wrong = [
        f"{name} {there[name]} instead of {number}"
        for name, number in official.items()
        if name in there and there[name] != number
    ]
    if wrong:
        message = f"The official set has another number of images: {', '.join(wrong)}."
        yield Finding("counts", "warning", message)


def _within(split: str, records: list[Record]) -> Iterator[Finding]:
    by_key: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_key[record.entry.key].append(record)
    several = {key: some for key, some in by_key.items() if len(some) > 1}
    same = {k: some for k, some in several.items() if all(r == some[0] for r in some)}
    if same:
        names = tuple(f"anns/{split}.json: {some[0].entry.mask_name}" for some in same.values())
        message = f"{split} lists {_entries(len(same))} more than once; each is used once."
        yield Finding("repeated", "warning", message, names)
    clashes = tuple(
        f"anns/{split}.json: {key}: {', '.join(dict.fromkeys(r.entry.image_name for r in some))}"
        for key, some in several.items()
        if key not in same
    )
    if clashes:
        message = (
            f"{split} gives the same key (mask name without extension) to different entries; "
            "loading it is refused. Rename the masks."
        )
        yield Finding("keys", "error", message, clashes)


def _differing_in_case(found: Survey) -> Iterator[Finding]:
    names = {name for r in found.records for name in (r.entry.image_name, r.entry.mask_name)}
    counts = Counter(name.casefold() for name in names)
    alike = tuple(sorted(name for name in names if counts[name.casefold()] > 1))
    if alike:
        message = (
            f"{len(alike)} names differ from another in upper and lower case alone; on Windows and "
            "macOS one file would replace the other."
        )
        yield Finding("names", "warning", message, alike)


def _unlisted(found: Survey, listed: set[str]) -> Iterator[Finding]:
    for kind, names in (("images", found.images), ("masks", found.masks)):
        folder = found.folder / kind
        loose = tuple(f"{kind}/{name}" for name in names if str(folder / name) not in listed)
        if loose:
            message = f"{len(loose)} of {len(names)} {kind} are in no annotation."
            yield Finding("unlisted", "warning", message, loose)


def _entries(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
