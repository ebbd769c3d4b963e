"""The verdict on acceptance criteria, as it is shown and stored."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal, TypeAlias

from palpate.reporting.acceptance.criteria import Resolved
from palpate.version import release

Answer: TypeAlias = Literal["met", "not met", "undecided"]


@dataclass(frozen=True)
class Part:
    """The verdict on a criterion in one data set and structure, and subgroup.

    Attributes:
        where: Data set and structure, and the subgroup if there is one.
        n: Number of images.
        groups: Number of independent groups of images, such as patients.
        value: The statistic; NaN if there are no images.
        low: Lower bound of its interval.
        high: Upper bound of its interval.
        verdict: ``"met"``, ``"not met"`` or ``"undecided"``.
        needed: Number of images that would probably decide it; None if it is decided, or if no
            number below a million would.
        reason: Why it is undecided, or empty.
    """

    where: str
    n: int
    groups: int
    value: float
    low: float
    high: float
    verdict: Answer
    needed: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Judged:
    """A criterion with its verdict; it is met if it is met in every part.

    ``confidence`` is the confidence level of its intervals.
    """

    criterion: Resolved
    parts: tuple[Part, ...]
    confidence: float

    @property
    def verdict(self) -> Answer:
        return worst([part.verdict for part in self.parts])

    @property
    def threshold(self) -> str:
        """The threshold in words, such as ``≥ 80.0 %``."""
        measure = self.criterion.measure
        return f"{'≥' if measure.higher_is_better else '≤'} {self.shown(self.criterion.threshold)}"

    def shown(self, value: float) -> str:
        """A value of the criterion with its unit."""
        if self.criterion.measure.minimal and self.criterion.condition.norm != "l2":
            return f"{value:.3g}/255" if isfinite(value) else self.criterion.measure.shown(value)
        return self.criterion.measure.shown(value)


@dataclass(frozen=True)
class Fixing:
    """When the criteria of a run were fixed.

    Attributes:
        digest: SHA-256 of the criteria.
        recorded: Date at which this hash was written to the run folder, before the run started;
            empty if it was not.
        first_rows: Date of the first rows.
        other: Hash of other criteria that were recorded before the run, or empty.
    """

    digest: str
    recorded: str = ""
    first_rows: str = ""
    other: str = ""

    @property
    def beforehand(self) -> bool:
        """Whether the hash was written before the first rows."""
        return bool(self.recorded) and (not self.first_rows or self.recorded <= self.first_rows)

    def __str__(self) -> str:
        short = self.digest[:12]
        if self.beforehand:
            rows = f", before the first rows ({self.first_rows})" if self.first_rows else ""
            return f"The criteria were fixed beforehand: hash {short}, {self.recorded}{rows}."
        if self.other:
            return (
                f"These criteria (hash {short}) were not fixed before the run: it was started with "
                f"other ones (hash {self.other[:12]})."
            )
        return f"These criteria (hash {short}) were not fixed before the run."


@dataclass(frozen=True)
class Verdict:
    """The verdict on all criteria of a run."""

    hold: Literal["all", "any"]
    criteria: tuple[Judged, ...]
    fixing: Fixing

    @property
    def verdict(self) -> Answer:
        """The worst of the verdicts if all criteria must hold, the best if any may."""
        found = [judged.verdict for judged in self.criteria]
        return worst(found) if self.hold == "all" else best(found)

    @property
    def multiplicity(self) -> str:
        """How several criteria are accounted for, in words."""
        if len(self.criteria) == 1:
            return "Intervals have a confidence of 95 %."
        if self.hold == "all":
            return (
                "All criteria must hold, so each is judged by its 95 % interval, without a "
                "correction."
            )
        return (
            "It suffices that one criterion holds, so Holm's correction is applied: the intervals "
            "have the confidence stated beside them."
        )

    def plain(self) -> dict[str, Any]:
        """The verdict as plain values for JSON; numbers that are not finite become null."""
        return {
            "verdict": self.verdict,
            "hold": self.hold,
            "fixed_beforehand": self.fixing.beforehand,
            "criteria_sha256": self.fixing.digest,
            "recorded": self.fixing.recorded or None,
            "first_rows": self.fixing.first_rows or None,
            "recorded_other_sha256": self.fixing.other or None,
            "palpate": release(),
            "criteria": [_plain(judged) for judged in self.criteria],
        }


def worst(found: Sequence[Answer]) -> Answer:
    """The worst of several verdicts.

    >>> worst(["met", "undecided"]), worst(["undecided", "not met"])
    ('undecided', 'not met')
    """
    return max(found, key=_ORDER.index)


def best(found: Sequence[Answer]) -> Answer:
    """The best of several verdicts."""
    return min(found, key=_ORDER.index)


_ORDER: tuple[Answer, ...] = ("met", "undecided", "not met")


def _plain(judged: Judged) -> dict[str, Any]:
    criterion = judged.criterion
    return {
        "name": criterion.name,
        "metric": criterion.measure.name,
        "condition": str(criterion.condition),
        "statistic": criterion.statistic,
        criterion.measure.key: criterion.threshold,
        "verdict": judged.verdict,
        "confidence": judged.confidence,
        "parts": [
            {k: v for k, v in _finite(asdict(part)).items() if k != "reason" or v}
            for part in judged.parts
        ],
    }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in values.items()}
