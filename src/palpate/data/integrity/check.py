"""Entry point that runs all integrity checks of data sets."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from palpate.data.dataset import DatasetSpec
from palpate.data.integrity.duplicates import (
    annotation_findings,
    duplicate_findings,
    name_findings,
    shared_images,
)
from palpate.data.integrity.finding import ACROSS, CHECKS, NEEDS_PIXELS, Finding
from palpate.data.integrity.images import ListedImage, duplicate_pairs, listed_images
from palpate.data.integrity.listed import count_findings, file_findings, listing_findings
from palpate.data.integrity.masks import mask_findings
from palpate.data.integrity.report import (
    IntegrityReport,
    SetReport,
    counts_of,
    outcomes_of,
)
from palpate.data.integrity.summaries import (
    Fault,
    ImageSummary,
    MaskSummary,
    summarise_images,
    summarise_masks,
)
from palpate.data.integrity.survey import Survey, survey
from palpate.data.reading.mask_values import Structure
from palpate.data.sources.cards import Card
from palpate.data.structures import advice
from palpate.progress import Progress, silent

_FAULTS = {
    "unreadable": "{} files cannot be decoded; replace them.",
    "sizes": "{} masks do not have the proportions of their images; export them again.",
    "binary": "{} masks have values that are neither 0 and 1 nor black and white.{}",
}


@dataclass(frozen=True)
class Wanted:
    """A data set to check.

    Attributes:
        folder: Folder of the data set.
        spec: Properties of the data set.
        card: Published description; without it, official counts are not checked.
    """

    folder: Path
    spec: DatasetSpec
    card: Card | None = None


def check_sets(
    wanted: Sequence[Wanted],
    *,
    structures: Sequence[Structure] = (),
    pixels: bool = True,
    progress: Progress = silent,
) -> IntegrityReport:
    """Check data sets, each on its own and against each other.

    Args:
        wanted: At least one data set.
        structures: Structures of masks that are not binary; the pixels of several are checked
            together.
        pixels: Whether to decode the files; otherwise only names and annotations are checked.
        progress: Called for every file.

    Returns:
        The report; all other problems than those below are findings in it.

    Raises:
        FileNotFoundError: If a folder does not exist or has no annotations.
    """
    surveys = [survey(one.folder, one.spec, structures) for one in wanted]
    reports, pictures = [], []
    for one, found in zip(wanted, surveys, strict=True):
        seen = _summarise(found, progress) if pixels and found.has_images else None
        shown = listed_images(found, seen.images if seen else {})
        pictures += shown
        reports.append(_report(one, found, shown, seen))
    findings = (*annotation_findings(surveys), *shared_images(pictures))
    ran = frozenset(c for c in ACROSS if len(wanted) > 1 and (pixels or c not in NEEDS_PIXELS))
    return IntegrityReport(tuple(reports), outcomes_of(findings, ran, ACROSS), findings)


@dataclass(frozen=True)
class _Summaries:
    images: Mapping[Path, ImageSummary | Fault]
    masks: Mapping[Path, MaskSummary | Fault]


def _summarise(found: Survey, progress: Progress) -> _Summaries:
    """Decode all images, and the masks whose image could be decoded."""
    entries = [record.entry for record in found.records]
    images = summarise_images((e.image for e in entries if e.image.is_file()), progress)
    whole = [
        entry
        for entry in entries
        if entry.mask.is_file() and isinstance(images.get(entry.image), ImageSummary)
    ]
    return _Summaries(images, summarise_masks(whole, progress))


def _report(
    one: Wanted, found: Survey, shown: list[ListedImage], seen: _Summaries | None
) -> SetReport:
    """Run all checks of one data set; checks that cannot run are reported as not run."""
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
            *duplicate_findings(duplicate_pairs(shown)),
        ]
    among = frozenset(CHECKS) - ACROSS
    every = tuple(sorted(findings, key=lambda finding: list(CHECKS).index(finding.check)))
    outcomes = outcomes_of(every, among - skipped, among)
    return SetReport(one.spec.name, one.folder, one.card, counts_of(found), outcomes, every)


def _fault_findings(
    summaries: Mapping[Path, ImageSummary | MaskSummary | Fault],
) -> Iterator[Finding]:
    """One finding per check for all files that could not be decoded or used."""
    by_check: dict[str, list[Fault]] = defaultdict(list)
    for summary in summaries.values():
        if isinstance(summary, Fault):
            by_check[summary.check].append(summary)
    for check, faults in by_check.items():
        values = [value for fault in faults for value in fault.values]
        message = _FAULTS[check].format(len(faults), f" {advice(values, '--mask')}")
        yield Finding(check, "error", message, tuple(fault.message for fault in faults))
