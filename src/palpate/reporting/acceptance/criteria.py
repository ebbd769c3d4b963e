"""Acceptance criteria: metric, condition, statistic and threshold, and optionally a subgroup.

They are plain values, in a YAML file or under ``acceptance`` in a recipe::

    hold: all            # or any
    criteria:
      - {metric: dsc, condition: clean, at_least: 0.85}
      - {metric: dsc, condition: pgd 2/255, statistic: p10, at_least: 0.5, subgroup: structure}
      - {metric: success, condition: pgd 2/255, at_most: 20 %}

They are read in two steps. :func:`read_criteria` needs nothing but the values. :func:`resolve`
compares them with the metrics and conditions of a run, before anything is computed.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from palpate.errors import did_you_mean
from palpate.evaluation.metrics import Metric
from palpate.evaluation.statistics.intervals import SHARE
from palpate.reporting.acceptance.conditions import (
    Condition,
    Wanted,
    find_condition,
    wanted_condition,
)
from palpate.reporting.acceptance.measures import Measure, measures_of

SUBGROUPS = ("dataset", "structure", "prompt_level", "size")
SIZES = ("small", "middle", "large")
_KEYS = ("metric", "condition", "statistic", "at_least", "at_most", "subgroup", "name")
_QUANTILE = re.compile(r"p(\d+(?:\.\d+)?)")
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?)\s*(\S.*?)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Criterion:
    """One criterion as written; ``threshold`` is the number or text of the file."""

    metric: str
    condition: Wanted
    statistic: str
    key: Literal["at_least", "at_most"]
    threshold: float | str
    subgroup: str | Mapping[str, str] | None = None
    name: str = ""


@dataclass(frozen=True)
class Criteria:
    """Criteria of a run.

    Attributes:
        hold: Whether ``all`` of them must hold, or it suffices that ``any`` does.
        criteria: The criteria, in order.
        values: The values that they were read from.
    """

    hold: Literal["all", "any"]
    criteria: tuple[Criterion, ...]
    values: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of the values as JSON with sorted keys and without spaces."""
        text = json.dumps(self.values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Resolved:
    """A criterion that fits to a run: ``threshold`` is a number in the unit of the measure.

    Attributes:
        quantile: Share of images below the statistic; None for the mean.
    """

    name: str
    measure: Measure
    condition: Condition
    quantile: float | None
    threshold: float
    subgroup: str | Mapping[str, str] | None

    @property
    def statistic(self) -> str:
        """The statistic in words."""
        if self.quantile is None:
            return "mean"
        return "median" if self.quantile == 0.5 else f"{100 * self.quantile:g}th percentile"


def read_criteria(values: object, source: str) -> Criteria:
    """Read criteria from plain values.

    Args:
        values: A mapping with ``criteria`` and optionally ``hold``, or the list of criteria.
        source: Where they come from, for error messages.

    Raises:
        ValueError: If they cannot be used; all faults are listed.
    """
    given = {"criteria": values} if isinstance(values, list) else values
    if not isinstance(given, Mapping):
        raise ValueError(
            f"Expected criteria in {source}, a list or a mapping with the key criteria, got "
            f"{type(values).__name__}."
        )
    for key in given:
        if key not in ("hold", "criteria"):
            raise ValueError(
                f"{source} cannot be used: there is no {key!r} in acceptance criteria; expected "
                f"hold, criteria.{did_you_mean(str(key), ('hold', 'criteria'))}"
            )
    hold, listed = given.get("hold", "all"), given.get("criteria")
    if hold not in ("all", "any"):
        raise ValueError(f"Expected hold to be all or any in {source}, got {hold!r}.")
    if not isinstance(listed, list | tuple) or not listed:
        raise ValueError(
            f"Expected a list of criteria in {source}, such as `criteria: [{{metric: dsc, "
            f"condition: clean, at_least: 0.8}}]`, got {listed!r}."
        )
    found, faults = [], []
    for number, one in enumerate(listed, start=1):
        try:
            found.append(_read_one(one))
        except ValueError as error:
            faults.append(f"criterion {number}: {error}")
    _raise(faults, source)
    plain = json.loads(json.dumps({"hold": hold, "criteria": list(listed)}, default=str))
    return Criteria(hold, tuple(found), plain)


def resolve(
    criteria: Criteria, metrics: Sequence[Metric], conditions: Sequence[Condition], source: str
) -> list[Resolved]:
    """Compare criteria with the metrics and conditions of a run.

    Raises:
        ValueError: If the run lacks a metric or condition, or a threshold does not fit to its
            metric; all faults are listed.
    """
    measures, found, faults = measures_of(metrics), [], []
    for number, one in enumerate(criteria.criteria, start=1):
        try:
            found.append(_resolve_one(one, measures, conditions))
        except ValueError as error:
            faults.append(f"criterion {number}: {error}")
    _raise(faults, source)
    return found


def check_levels(
    resolved: Sequence[Resolved], levels: Mapping[str, Sequence[str]], source: str
) -> None:
    """Check that a run has the subgroups that its criteria name.

    Args:
        resolved: The criteria.
        levels: Values of the columns of :data:`SUBGROUPS` in the run.
        source: Where the criteria come from, for error messages.

    Raises:
        ValueError: If it lacks one.
    """
    faults = []
    for number, one in enumerate(resolved, start=1):
        named = one.subgroup if isinstance(one.subgroup, Mapping) else {}
        for column, level in named.items():
            known = sorted(map(str, levels.get(column, ())))
            if known and level not in known:
                faults.append(
                    f"criterion {number}: there is no {column} {level!r} in the run; there is "
                    f"{', '.join(known)}.{did_you_mean(level, known)}"
                )
    _raise(faults, source)


def _raise(faults: Sequence[str], source: str) -> None:
    if faults:
        listed = "\n".join(f"  {fault.rstrip('.')}." for fault in faults)
        listed = re.sub(r"\?\.$", "?", listed, flags=re.MULTILINE)
        raise ValueError(f"{source} cannot be used:\n{listed}")


def _read_one(given: object) -> Criterion:
    if not isinstance(given, Mapping):
        raise ValueError(f"expected metric, condition and at_least or at_most, got {given!r}")
    for key in given:
        if key not in _KEYS:
            near = did_you_mean(str(key), _KEYS)
            raise ValueError(f"there is no {key!r}; expected some of {', '.join(_KEYS)}.{near}")
    for key in ("metric", "condition"):
        if key not in given:
            raise ValueError(f"{key} is missing")
    keys = [key for key in ("at_least", "at_most") if key in given]
    if len(keys) != 1:
        raise ValueError(f"expected at_least or at_most, got {' and '.join(keys) or 'neither'}")
    threshold = given[keys[0]]
    if isinstance(threshold, bool) or not isinstance(threshold, int | float | str):
        raise ValueError(f"expected a number as {keys[0]}, got {threshold!r}")
    statistic = str(given.get("statistic", "mean"))
    _quantile(statistic)
    return Criterion(
        str(given["metric"]),
        wanted_condition(given["condition"]),
        statistic,
        "at_least" if keys[0] == "at_least" else "at_most",
        threshold,
        _subgroup(given.get("subgroup")),
        str(given.get("name", "")),
    )


def _subgroup(given: object) -> str | Mapping[str, str] | None:
    if given is None:
        return None
    named = list(given) if isinstance(given, Mapping) else [given]
    for column in named:
        if column not in SUBGROUPS:
            raise ValueError(
                f"there is no subgroup {column!r}; expected {', '.join(SUBGROUPS)}."
                f"{did_you_mean(str(column), SUBGROUPS)}"
            )
    if not isinstance(given, Mapping):
        return str(given)
    levels = {str(column): str(level) for column, level in given.items()}
    if "size" in levels and levels["size"] not in SIZES:
        raise ValueError(
            f"there is no size {levels['size']!r}; expected {', '.join(SIZES)}."
            f"{did_you_mean(levels['size'], SIZES)}"
        )
    return levels


def _quantile(statistic: str) -> float | None:
    """The share of images below a statistic; None for the mean.

    >>> _quantile("median"), _quantile("p10"), _quantile("mean")
    (0.5, 0.1, None)
    """
    if statistic == "mean":
        return None
    if statistic == "median":
        return 0.5
    found = _QUANTILE.fullmatch(statistic)
    if found is None or not 0 < float(found[1]) < 100:
        near = did_you_mean(statistic, ("mean", "median"))
        raise ValueError(
            f"there is no statistic {statistic!r}; expected mean, median or a percentile from p1 "
            f"to p99, such as p10.{near}"
        )
    return float(found[1]) / 100


def _resolve_one(
    criterion: Criterion, measures: Mapping[str, Measure], conditions: Sequence[Condition]
) -> Resolved:
    if criterion.metric not in measures:
        near = did_you_mean(criterion.metric, measures)
        raise ValueError(
            f"the run has no metric {criterion.metric!r}; it has {', '.join(measures)}.{near}"
        )
    measure = measures[criterion.metric]
    condition = find_condition(criterion.condition, conditions)
    measure.refuse(condition)
    if criterion.key != measure.key:
        better = "higher" if measure.higher_is_better else "lower"
        raise ValueError(
            f"a {better} {measure.name} is better, so its threshold is {measure.key}, got "
            f"{criterion.key}: {criterion.threshold}"
        )
    quantile = _quantile(criterion.statistic)
    if quantile is None and measure.minimal:
        raise ValueError(
            f"{measure.name} has no mean, for images that no attack breaks have none; use median "
            "or a percentile"
        )
    if quantile is not None and measure.eligible_only and not measure.minimal:
        raise ValueError(f"{measure.name} is a share of images and has no {criterion.statistic}")
    threshold = _threshold(criterion, measure, condition)
    name = criterion.name or _name(measure, condition, criterion.statistic)
    return Resolved(name, measure, condition, quantile, threshold, criterion.subgroup)


def _name(measure: Measure, condition: Condition, statistic: str) -> str:
    of = "" if statistic == "mean" else f", {statistic}"
    return f"{measure.label}{of}, {condition}"


def _threshold(criterion: Criterion, measure: Measure, condition: Condition) -> float:
    """The threshold in the unit of the measure, checked against its range."""
    given, (low, high) = criterion.threshold, measure.limits
    is_share = not measure.unit and high == SHARE[1]
    unit = _unit_of(measure, condition, is_share)
    found = _NUMBER.fullmatch(given) if isinstance(given, str) else None
    if isinstance(given, str) and (found is None or (found[2] or "") not in ("", unit)):
        raise ValueError(
            f"expected {criterion.key} of {measure.name} as a number"
            f"{f' in {unit}' if unit else ' without a unit'}, got {given!r}"
        )
    number = float(found[1]) if found is not None else float(given)
    if found is not None and found[2] == "%":
        number /= 100
    if not low <= number <= high:
        hint = f" ({number:g} % is {number / 100:g} or '{number:g} %')" if is_share else ""
        to = f"from {low:g} to {high:g}" if high < float("inf") else f"of at least {low:g}"
        raise ValueError(f"expected {criterion.key} of {measure.name} {to}, got {given}{hint}")
    return number


def _unit_of(measure: Measure, condition: Condition, is_share: bool) -> str:
    if measure.minimal:
        return "" if condition.norm == "l2" else "/255"
    return "%" if is_share else measure.unit
