"""Everything that can be wrong with data sets, looked for in one go."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from palpate.data.dataset import DatasetSpec
from palpate.data.integrity.across import annotation_findings, shared_images
from palpate.data.integrity.copies import copy_findings, name_findings
from palpate.data.integrity.finding import ACROSS, CHECKS, NEEDS_PIXELS, Finding
from palpate.data.integrity.listed import count_findings, file_findings, listing_findings
from palpate.data.integrity.looks import (
    Fault,
    ImageLook,
    MaskLook,
    look_at_images,
    look_at_masks,
)
from palpate.data.integrity.masks import mask_findings
from palpate.data.integrity.pictures import Picture, likenesses, pictures_of
from palpate.data.integrity.report import (
    IntegrityReport,
    SetReport,
    counts_of,
    outcomes_of,
)
from palpate.data.integrity.survey import Survey, survey
from palpate.data.sources.cards import Card
from palpate.progress import Progress, silent

_FAULTS = {
    "unreadable": "{} files cannot be decoded; get them anew.",
    "sizes": "{} masks do not have the proportions of their images; export them again.",
    "binary": "{} masks have values that no threshold makes sense of.",
}


@dataclass(frozen=True)
class Wanted:
    """A data set to check: where it is, what its names mean, and what is known of it."""

    folder: Path
    spec: DatasetSpec
    card: Card | None = None


def check_sets(
    wanted: Sequence[Wanted], *, pixels: bool = True, progress: Progress = silent
) -> IntegrityReport:
    """Check data sets, each for itself and against each other.

    Args:
        wanted: At least one.
        pixels: Whether to open the files; else only names and annotations are checked.
        progress: Told about every file.

    Raises:
        FileNotFoundError: If a folder is not there or has no annotations. Whatever else is wrong
            is a finding.
    """
    surveys = [survey(one.folder, one.spec) for one in wanted]
    reports, pictures = [], []
    for one, found in zip(wanted, surveys, strict=True):
        seen = _look(found, progress) if pixels and found.has_images else None
        shown = pictures_of(found, seen.images if seen else {})
        pictures += shown
        reports.append(_report(one, found, shown, seen))
    findings = (*annotation_findings(surveys), *shared_images(pictures))
    ran = frozenset(c for c in ACROSS if len(wanted) > 1 and (pixels or c not in NEEDS_PIXELS))
    return IntegrityReport(tuple(reports), outcomes_of(findings, ran, ACROSS), findings)


@dataclass(frozen=True)
class _Seen:
    images: Mapping[Path, ImageLook | Fault]
    masks: Mapping[Path, MaskLook | Fault]


def _look(found: Survey, progress: Progress) -> _Seen:
    entries = [record.entry for record in found.records]
    images = look_at_images((e.image for e in entries if e.image.is_file()), progress)
    whole = [
        entry
        for entry in entries
        if entry.mask.is_file() and isinstance(images.get(entry.image), ImageLook)
    ]
    return _Seen(images, look_at_masks(whole, progress))


def _report(one: Wanted, found: Survey, shown: list[Picture], seen: _Seen | None) -> SetReport:
    findings = [
        *found.findings,
        *listing_findings(found),
        *file_findings(found),
        *name_findings(shown),
        *count_findings(found, one.card.counts if one.card else {}),
    ]
    skipped = set() if one.card else {"counts"}
    if not found.images and not found.masks:
        skipped |= {"unlisted", "links"}
    if seen is None:
        skipped |= NEEDS_PIXELS
    else:
        findings += [
            *_fault_findings({**seen.images, **seen.masks}),
            *mask_findings(seen.masks, found.folder),
            *copy_findings(likenesses(shown)),
        ]
    among = frozenset(CHECKS) - ACROSS
    every = tuple(sorted(findings, key=lambda finding: list(CHECKS).index(finding.check)))
    outcomes = outcomes_of(every, among - skipped, among)
    return SetReport(one.spec.name, one.folder, one.card, counts_of(found), outcomes, every)


def _fault_findings(
    looks: Mapping[Path, ImageLook | MaskLook | Fault],
) -> Iterator[Finding]:
    by_check: dict[str, list[str]] = defaultdict(list)
    for look in looks.values():
        if isinstance(look, Fault):
            by_check[look.check].append(look.message)
    for check, messages in by_check.items():
        message = _FAULTS[check].format(len(messages))
        yield Finding(check, "error", message, tuple(messages))
