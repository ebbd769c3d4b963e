"""Means with n and interval: one line per data set, structure and condition.

All tables, figures and sentences of the report use these numbers. Intervals are 95 % intervals of
the mean over images, by group (the patient, if known); see
:mod:`palpate.evaluation.statistics.intervals`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import nan
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from palpate.evaluation.metrics import Metric
from palpate.evaluation.results.rows import metrics_in
from palpate.evaluation.statistics.curves import area_under_curve, epsilon_at_half, median_radius
from palpate.evaluation.statistics.intervals import (
    SHARE,
    Interval,
    Range,
    mean_interval,
    paired_difference,
)
from palpate.reporting.labels import FAILURES, SIZE_COLOURS
from palpate.reporting.numbers.checked_rows import (
    CONDITION,
    IMAGE,
    attacked,
    conditions,
    facets,
    is_minimal,
    of_fixed_radius,
)
from palpate.reporting.numbers.paired_tests import comparisons
from palpate.reporting.numbers.worst_case import without_worst_case

WHERE: Final = ["facet", "dataset", "structure"]
_VISIBILITY: Final = ("psnr", "ssim")


@dataclass(frozen=True)
class Summary:
    """Numbers that are computed once and used by tables, charts and sentences."""

    scores: pd.DataFrame
    failures: pd.DataFrame
    sizes: pd.DataFrame
    tests: pd.DataFrame
    radii: pd.DataFrame


def summarise(rows: pd.DataFrame) -> Summary:
    """Summarise rows returned by :func:`palpate.reporting.numbers.checked_rows.checked`.

    Rows of attacks that search for the smallest perturbation are used in ``radii`` only. The worst
    case over attacks is not tested, because the attacks are, and the lowest of several scores is
    no score of its own.
    """
    fixed = of_fixed_radius(rows)
    tests = comparisons(without_worst_case(fixed))
    return Summary(scores(fixed), failures(fixed), by_size(fixed), tests, radii(rows))


def scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Primary metrics, drop in DSC, success rate and cost per image, for each condition.

    The success rate is over the ``n_eligible`` images whose clean prediction had not failed,
    because a prediction that already failed is no success of an attack.

    Returns:
        Columns ``facet dataset structure attack norm epsilon n groups``, then for each of the
        primary metrics, ``drop`` and ``success`` the mean and ``_low`` and ``_high``, then the
        means of ``forwards backwards seconds``.
    """
    metrics = [metric for metric in metrics_in(rows) if metric.primary]
    return _per_condition(_with_eligible(rows), partial(_score_line, metrics))


def failures(rows: pd.DataFrame) -> pd.DataFrame:
    """Share of images per failure mode for each condition, including clean; the sum is 1.

    Raises:
        ValueError: If a failure mode is unknown.
    """
    unknown = set(rows["failure"]) - set(FAILURES)
    if unknown:
        raise ValueError(
            f"Expected failure to be one of {', '.join(FAILURES)}, "
            f"got {', '.join(sorted(map(str, unknown)))}."
        )
    return _per_condition(rows, _failure_line)


def quality(rows: pd.DataFrame) -> pd.DataFrame:
    """Metrics that are not primary, and the size of the perturbation.

    Values that are not finite (the distance to an empty prediction, the PSNR of an unchanged
    image) are excluded; ``n_<name>`` is the number of the remaining ones.
    """
    metrics = [metric for metric in metrics_in(rows) if not metric.primary]
    return _per_condition(rows, partial(_quality_line, metrics))


def by_size(rows: pd.DataFrame) -> pd.DataFrame:
    """DSC by mask size: thirds of the images with small, middle and large masks.

    Facets with fewer than three different sizes are left out.
    """
    parts = []
    for _, part in facets(rows):
        third = size_thirds(part)
        if third is None:
            continue
        for index, name in enumerate(SIZE_COLOURS):
            some = part[third == index]
            bounds = {"area_low": some["mask_area"].min(), "area_high": some["mask_area"].max()}
            parts.append(_per_condition(some, _breakdown_line).assign(size=name, **bounds))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def size_thirds(part: pd.DataFrame) -> NDArray[np.intp] | None:
    """Third of each row of a facet by mask area: 0 small, 1 middle, 2 large.

    None if there are fewer than three different sizes.
    """
    areas = part.drop_duplicates(IMAGE)["mask_area"]
    limits = np.quantile(areas, [1 / 3, 2 / 3])
    if areas.nunique() < 3 or limits[0] == limits[1]:
        return None
    return np.searchsorted(limits, part["mask_area"])


def by_prompt(rows: pd.DataFrame) -> pd.DataFrame:
    """DSC per prompt level; empty if there is only one."""
    if rows["prompt_level"].nunique() < 2:
        return pd.DataFrame()
    parts = [
        _per_condition(part, _breakdown_line).assign(prompt_level=level)
        for level, part in rows.groupby("prompt_level")
    ]
    return pd.concat(parts, ignore_index=True)


def curve_area(rows: pd.DataFrame) -> pd.DataFrame:
    """Area under the curve of DSC over epsilon per attack, and the radius that halves mean DSC.

    The area is computed per image, over the images attacked at every radius, so that it has
    an interval like any other score.
    """
    lines, clean = [], rows[rows["attack"] == "clean"].set_index(IMAGE)["dsc"]
    for where, part in attacked(rows).groupby([*WHERE, "attack", "norm"], sort=False):
        curves = part.pivot(index=[*IMAGE, "group"], columns="epsilon", values="dsc")
        curves = curves.drop(columns=0.0, errors="ignore")
        # Use the DSC of the clean row, not dsc_clean of attacked rows: if the protocol redraws
        # prompts, the latter may differ between calls.
        start = clean.reindex(curves.reset_index("group").index).to_numpy()
        known = curves.notna().all(axis=1).to_numpy() & ~np.isnan(start)
        if not known.any() or not len(curves.columns):
            continue
        curves, start = curves[known], start[known]
        radii = [0.0, *curves.columns.astype(float)]
        values = np.column_stack([start, curves])
        groups = curves.index.get_level_values("group")
        interval = mean_interval(area_under_curve(radii, values), groups.astype(str).to_numpy())
        lines.append(
            dict(zip([*WHERE, "attack", "norm"], where, strict=True))
            | {"epsilon": radii[-1], "n": interval.n, "groups": interval.groups}
            | spread("area", interval)
            | {"halved_at": epsilon_at_half(radii, values.mean(axis=0))}
        )
    return pd.DataFrame(lines)


def radii(rows: pd.DataFrame) -> pd.DataFrame:
    """Median robustness radius for each attack that searches for the smallest perturbation.

    It is over the ``n`` images whose clean prediction had not failed; ``lost`` is the number of
    the others. The ``unbroken`` images, on which the attack failed, have an infinite radius.

    Returns:
        Columns ``facet dataset structure attack norm epsilon n groups``, ``lost``, ``unbroken``,
        ``radius`` with ``_low`` and ``_high`` (infinite if fewer than half were broken), the
        rate ``broken`` with its interval, and the means of ``forwards backwards seconds``.
    """
    rows = _with_eligible(rows)
    sought = rows[is_minimal(rows)]
    return _per_condition(sought, _radius_line) if len(sought) else pd.DataFrame()


def _per_condition(
    rows: pd.DataFrame, line: Callable[[pd.DataFrame], dict[str, float | int]]
) -> pd.DataFrame:
    lines = []
    for name, part in facets(rows):
        where = dict(zip(WHERE, (name, *part[["dataset", "structure"]].iloc[0]), strict=True))
        for condition, some in conditions(part):
            head = where | dict(zip(CONDITION, condition, strict=True))
            count = {"n": len(some), "groups": some["group"].nunique()}
            lines.append(head | count | line(some))
    return pd.DataFrame(lines)


def _breakdown_line(rows: pd.DataFrame) -> dict[str, float | int]:
    return spread("dsc", _interval(rows, rows["dsc"]))


def _score_line(metrics: Sequence[Metric], rows: pd.DataFrame) -> dict[str, float | int]:
    eligible = rows[rows["eligible"]]
    line: dict[str, float | int] = {}
    for metric in metrics:
        known = rows[rows[metric.name].notna()]  # rows of an older store may lack a metric
        line |= spread(metric.name, _interval(known, known[metric.name], metric.range))
    drop = paired_difference(rows["dsc"], rows["dsc_clean"], rows["group"].astype(str).to_numpy())
    line |= spread("drop", drop)
    line |= {"n_eligible": len(eligible)}
    line |= spread("success", _interval(eligible, eligible["success"]))
    return line | {name: float(rows[name].mean()) for name in ("forwards", "backwards", "seconds")}


def _radius_line(rows: pd.DataFrame) -> dict[str, float | int]:
    some = rows[rows["eligible"]]
    broken = some["failure"] != "none"
    line: dict[str, float | int] = {"n": len(some), "groups": some["group"].nunique()}
    line |= {"lost": len(rows) - len(some), "unbroken": int((~broken).sum())}
    if some.empty:
        line |= dict.fromkeys(("radius", "radius_low", "radius_high"), nan)
    else:
        lengths = some["l2"].where(some["norm"] == "l2", some["linf"])
        found = median_radius(lengths, broken, some["group"].astype(str).to_numpy())
        line |= {"radius": found.median, "radius_low": found.low, "radius_high": found.high}
    line |= spread("broken", _interval(some, broken))
    return line | {name: float(rows[name].mean()) for name in ("forwards", "backwards", "seconds")}


def _failure_line(rows: pd.DataFrame) -> dict[str, float | int]:
    line = {name: float((rows["failure"] == name).mean()) for name in FAILURES}
    return line | spread("failed", _interval(rows, rows["failure"] != "none"))


def _quality_line(metrics: Sequence[Metric], rows: pd.DataFrame) -> dict[str, float | int]:
    line: dict[str, float | int] = {}
    names = {metric.name: metric.range for metric in metrics}
    for name in (name for name in (*names, *_VISIBILITY) if name in rows.columns):
        finite = rows[np.isfinite(rows[name].astype(float))]
        line[f"n_{name}"] = len(finite)
        if name in names:
            line |= spread(name, _interval(finite, finite[name], names[name]))
        else:
            line[name] = float(finite[name].mean())
    return line | ({"linf_max": float(rows["linf"].max())} if "linf" in rows.columns else {})


def _with_eligible(rows: pd.DataFrame) -> pd.DataFrame:
    clean = rows[rows["attack"] == "clean"]
    lost = clean.loc[clean["failure"] != "none", IMAGE].assign(lost=True)
    lost_too = rows[IMAGE].merge(lost, on=IMAGE, how="left")["lost"].notna()
    return rows.assign(eligible=~lost_too.to_numpy())


def _interval(rows: pd.DataFrame, values: pd.Series, limits: Range = SHARE) -> Interval:
    if values.empty:
        return Interval(nan, nan, nan, 0, 0)
    groups = rows["group"].astype(str).to_numpy()
    return mean_interval(values.to_numpy(dtype=float), groups, limits=limits)


def spread(name: str, interval: Interval) -> dict[str, float | int]:
    """Mean and bounds as columns ``name``, ``name_low`` and ``name_high``."""
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
