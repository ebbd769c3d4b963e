"""Report of all checks, as an object and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from palpate.data.annotations import SPLITS
from palpate.data.integrity.finding import CHECKS, Finding
from palpate.data.integrity.survey import Survey
from palpate.data.sources.cards import Card

Outcome: TypeAlias = Literal["pass", "note", "warning", "error", "not run"]
_RANK: tuple[Outcome, ...] = ("pass", "note", "warning", "error")


@dataclass(frozen=True)
class SplitCounts:
    """Counts of a split.

    Attributes:
        samples: Number of entries.
        images: Number of images.
        groups: Number of groups (patients).
        structures: Names of the structures.
    """

    samples: int
    images: int
    groups: int
    structures: tuple[str, ...]


@dataclass(frozen=True)
class SetReport:
    """Report of one data set.

    Attributes:
        name: Name of the data set.
        folder: Folder of the data set.
        card: Published description with licence and citation; None if there is none.
        splits: Counts by split.
        outcomes: Outcome of every check.
        findings: All findings, in the order of the checks.
    """

    name: str
    folder: Path
    card: Card | None
    splits: Mapping[str, SplitCounts]
    outcomes: Mapping[str, Outcome]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class IntegrityReport:
    """Report of several data sets, each on its own and against each other.

    Attributes:
        sets: Report of each data set.
        outcomes: Outcome of every check across data sets.
        findings: All findings across data sets.
    """

    sets: tuple[SetReport, ...]
    outcomes: Mapping[str, Outcome]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether there are no findings of severity ``error``."""
        every = [*self.findings, *(finding for one in self.sets for finding in one.findings)]
        return all(finding.severity != "error" for finding in every)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON-serialisable values."""
        sets = [asdict(one) | {"folder": str(one.folder)} for one in self.sets]
        across = {"outcomes": dict(self.outcomes), "findings": [asdict(f) for f in self.findings]}
        return {"passed": self.passed, "sets": sets, "across": across}


def outcomes_of(
    findings: tuple[Finding, ...], ran: frozenset[str], among: frozenset[str]
) -> dict[str, Outcome]:
    """Outcome of every check, in the order of ``CHECKS``: its most severe finding.

    Args:
        findings: Findings of the checks that ran.
        ran: Checks that ran; without findings they pass.
        among: All checks to report; those that did not run are ``not run``.
    """
    worst: dict[str, Outcome] = {}
    for check in CHECKS:
        if check in among:
            severities = [f.severity for f in findings if f.check == check]
            fine: Outcome = "pass" if check in ran else "not run"
            worst[check] = max(severities, key=_RANK.index, default=fine)
    return worst


def counts_of(found: Survey) -> dict[str, SplitCounts]:
    """Count samples, images and groups of each split that is not empty."""
    return {
        split: SplitCounts(
            samples=len({record.entry.key for record in records}),
            images=len({record.entry.image_name for record in records}),
            groups=len({record.group for record in records}),
            structures=tuple(sorted({record.structure for record in records})),
        )
        for split in SPLITS
        if (records := found.of(split))
    }
