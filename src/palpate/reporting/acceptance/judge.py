"""Judges rows by acceptance criteria: by the interval, not by the mean.

A criterion is met where the bound of the interval on the safe side reaches the threshold, not met
where the other bound does not, and otherwise undecided. The criteria are judged in each data set
and structure by itself, as all tables of the report are, and must hold in each.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import isnan, nan

import numpy as np
import pandas as pd

from palpate.evaluation.results.kinds import kinds
from palpate.evaluation.results.rows import CLEAN, metrics_in
from palpate.evaluation.statistics.decision import images_to_decide
from palpate.evaluation.statistics.intervals import (
    CHANGE,
    FEWEST_UNLIMITED,
    Interval,
    mean_interval,
    quantile_interval,
)
from palpate.reporting.acceptance.conditions import conditions_in
from palpate.reporting.acceptance.criteria import (
    SIZES,
    SUBGROUPS,
    Criteria,
    Resolved,
    check_levels,
    resolve,
)
from palpate.reporting.acceptance.verdict import Answer, Fixing, Judged, Part, Verdict
from palpate.reporting.numbers.checked_rows import checked, facets
from palpate.reporting.numbers.summary import size_thirds

_LEVEL = 0.05  # probability of a false verdict that is accepted


def judge(
    rows: pd.DataFrame, criteria: Criteria, fixing: Fixing | None = None, source: str = "criteria"
) -> Verdict:
    """Judge the rows of a run.

    Args:
        rows: Rows of an evaluation.
        criteria: The criteria.
        fixing: When they were fixed; None: they were not recorded.
        source: Where they come from, for error messages.

    Raises:
        ValueError: If the rows cannot be reported, or lack what a criterion is about.
    """
    rows = checked(rows[kinds(rows) != "medis"])
    resolved = resolve(criteria, metrics_in(rows), conditions_in(rows), source)
    rows = _with_sizes(rows)
    levels = {name: list(rows[name].dropna().unique()) for name in SUBGROUPS}
    check_levels(resolved, levels, source)
    return Verdict(
        criteria.hold,
        tuple(_judge_all(rows, resolved, criteria.hold == "any")),
        fixing or Fixing(criteria.digest),
    )


def _judge_all(rows: pd.DataFrame, resolved: Sequence[Resolved], any_may: bool) -> list[Judged]:
    """Judge all criteria; with ``any_may``, those that are met are found by Holm's procedure.

    The procedure (Holm, 1979) goes step by step: of m criteria, those that are met at the level
    0.05/m are met; the remaining k are judged at the level 0.05/k, until a step adds none.
    """
    plain = [_judge_one(rows, one, 1 - _LEVEL) for one in resolved]
    if not any_may:
        return plain
    met: dict[int, Judged] = {}
    while len(met) < len(resolved):
        level = 1 - _LEVEL / (len(resolved) - len(met))
        left = [index for index in range(len(resolved)) if index not in met]
        tried = {index: _judge_one(rows, resolved[index], level) for index in left}
        new = {index: judged for index, judged in tried.items() if judged.verdict == "met"}
        if not new:
            return [met.get(i) or _not_met_or(plain[i], tried.get(i)) for i in range(len(resolved))]
        met |= new
    return [met[index] for index in range(len(resolved))]


def _not_met_or(plain: Judged, corrected: Judged | None) -> Judged:
    """That none holds needs no correction: it takes that every single one does not."""
    return plain if corrected is None or plain.verdict == "not met" else corrected


def _judge_one(rows: pd.DataFrame, criterion: Resolved, confidence: float) -> Judged:
    condition = criterion.condition
    parts = []
    for name, everything in facets(rows):
        clean = everything[everything["attack"] == CLEAN]
        some = everything[
            (everything["attack"] == condition.attack)
            & (everything["norm"] == condition.norm)
            & (everything["epsilon"] == condition.epsilon)
        ]
        for label, chosen in _subgroups(everything, criterion.subgroup):
            if chosen.empty:  # another data set has this subgroup
                continue
            where = " · ".join([name, label] if label else [name])
            part = _judge_part(_of(some, chosen), _of(clean, chosen), criterion, confidence)
            parts.append(replace(part, where=where))
    parts = parts or [Part("", 0, 0, nan, nan, nan, "undecided", reason="there is no such image")]
    return Judged(criterion, tuple(parts), confidence)


def _judge_part(
    rows: pd.DataFrame, clean: pd.DataFrame, criterion: Resolved, confidence: float
) -> Part:
    measure, missing = criterion.measure, len(clean) - len(rows)
    if measure.eligible_only:
        rows = _of(rows, clean[clean["failure"] == "none"])
    if rows.empty:
        reason = "no image was evaluated" if missing else "no image was segmented before the attack"
        return Part("", 0, 0, nan, nan, nan, "undecided", reason=reason)
    values = measure.values(rows).to_numpy(dtype=float)
    groups = rows["group"].astype(str).to_numpy()
    broken = ~np.isfinite(values) & ~(np.isinf(values) & measure.minimal)
    if broken.any():
        raise ValueError(
            f"Expected finite values of {measure.name} under {criterion.condition}, got "
            f"{int(broken.sum())} of {len(values)} that are not. Leaving them out would move the "
            "result; take another metric, or evaluate again."
        )
    found = _estimate(values, groups, criterion, confidence)
    part = Part("", found.n, found.groups, found.value, found.low, found.high, "undecided")
    if missing > 0:
        return replace(part, reason=f"{missing} of {len(clean)} images are not evaluated yet")
    if found.groups == 1:
        return replace(part, reason="one group has no interval")
    if isnan(found.low) and found.groups < FEWEST_UNLIMITED:
        reason = f"the mean of a metric without limits needs {FEWEST_UNLIMITED} independent images"
        return replace(part, needed=FEWEST_UNLIMITED, reason=reason)
    if isnan(found.low):
        reason = "all values are equal, and the metric has no limits"
        return replace(part, reason=reason)
    verdict = _verdict(found, criterion)
    needed = None
    if verdict == "undecided":
        needed = _needed(values, groups, criterion, confidence)
    return replace(part, verdict=verdict, needed=needed)


def _estimate(
    values: np.ndarray, groups: np.ndarray, criterion: Resolved, confidence: float
) -> Interval:
    limits = criterion.measure.limits
    if criterion.quantile is None:
        far = limits == CHANGE
        return mean_interval(values, groups, confidence, limits, far_limits=far)
    return quantile_interval(values, criterion.quantile, groups, confidence, limits)


def _verdict(found: Interval, criterion: Resolved) -> Answer:
    limit = criterion.threshold
    if criterion.measure.higher_is_better:
        return "met" if found.low >= limit else "not met" if found.high < limit else "undecided"
    return "met" if found.high <= limit else "not met" if found.low > limit else "undecided"


def _needed(
    values: np.ndarray, groups: np.ndarray, criterion: Resolved, confidence: float
) -> int | None:
    """The number of images that would probably decide; a quantile is decided by a share."""
    limit = criterion.threshold
    if criterion.quantile is None:
        limits = criterion.measure.limits
        far = limits == CHANGE
        return images_to_decide(values, limit, groups, confidence, limits, far_limits=far)
    # The quantile is at least the threshold where no more than this share lies below it.
    below = values < limit if criterion.measure.higher_is_better else values <= limit
    return images_to_decide(below.astype(float), criterion.quantile, groups, confidence)


def _subgroups(
    rows: pd.DataFrame, subgroup: str | Mapping[str, str] | None
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the label and the samples of each subgroup of a data set and structure."""
    samples = rows[rows["attack"] == CLEAN]
    if subgroup is None:
        yield "", samples
    elif isinstance(subgroup, str):
        order = SIZES if subgroup == "size" else sorted(samples[subgroup].dropna().unique())
        for level in order:
            some = samples[samples[subgroup] == level]
            if len(some):
                yield _label(subgroup, str(level)), some
    else:
        for column, level in subgroup.items():
            samples = samples[samples[column].astype(str) == level]
        yield ", ".join(_label(*item) for item in subgroup.items()), samples


def _label(column: str, level: str) -> str:
    return f"{level} masks" if column == "size" else level


def _of(rows: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """The rows of some samples of a data set and structure, whatever their prompts became."""
    return rows[rows["key"].isin(samples["key"])]


def _with_sizes(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the column ``size``: the third of its data set and structure by mask area."""
    sizes = pd.Series(None, index=rows.index, dtype=object)
    for _, part in facets(rows):
        third = size_thirds(part)
        if third is not None:
            sizes[part.index] = np.asarray(SIZES, dtype=object)[third]
    return rows.assign(size=sizes)
