"""The verdict in words, for page, sheet and terminal."""

from dataclasses import dataclass
from math import isnan

from palpate.reporting.acceptance.verdict import Judged, Part, Verdict


@dataclass(frozen=True)
class Line:
    """One criterion in one data set, structure and subgroup, as text."""

    criterion: str
    where: str
    threshold: str
    value: str
    interval: str
    n: str
    verdict: str
    note: str


def heading(verdict: Verdict) -> str:
    """The verdict in one sentence."""
    total = len(verdict.criteria)
    counts = [
        f"{count} {answer}"
        for answer in ("met", "not met", "undecided")
        if (count := sum(judged.verdict == answer for judged in verdict.criteria))
    ]
    if total == 1:
        return f"Acceptance: {verdict.verdict}."
    must = "all must hold" if verdict.hold == "all" else "any may hold"
    return f"Acceptance: {verdict.verdict} ({', '.join(counts)} of {total} criteria; {must})."


def lines(verdict: Verdict) -> list[Line]:
    """One line for each criterion in each of its parts."""
    return [_line(judged, part) for judged in verdict.criteria for part in judged.parts]


def _line(judged: Judged, part: Part) -> Line:
    value = "–" if isnan(part.value) else judged.shown(part.value)
    interval = ""
    if not isnan(part.low):
        low, high = (judged.shown(bound).removesuffix(" %") for bound in (part.low, part.high))
        interval = f"[{low}, {high}]"
        if round(judged.confidence, 6) != 0.95:
            interval += f" ({100 * judged.confidence:.3g} %)"
    return Line(
        judged.criterion.name,
        part.where,
        judged.threshold,
        value,
        interval,
        _count(part),
        part.verdict,
        _note(part),
    )


def _count(part: Part) -> str:
    """The number of images, and of independent groups if there are fewer."""
    return f"{part.n} in {part.groups} groups" if part.groups < part.n else str(part.n)


def _note(part: Part) -> str:
    if part.verdict != "undecided":
        return ""
    if part.needed is not None:
        least = "at least" if part.reason else "about"
        said = f"{least} {part.needed:,} images would decide"
        return f"{part.reason}: {said}" if part.reason else said
    return part.reason or "the value is at the threshold; no number of images decides"
