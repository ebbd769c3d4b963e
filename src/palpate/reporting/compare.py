"""Compares several runs on the same images."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pandas as pd

from palpate.evaluation.results.examples import Example
from palpate.evaluation.results.kinds import rows_of_images
from palpate.evaluation.statistics.intervals import mean_interval
from palpate.evaluation.statistics.significance import holm
from palpate.reporting.numbers.checked_rows import (
    BY_LEVEL,
    CONDITION,
    OF,
    RUN,
    SAMPLE,
    by_sample,
    checked,
    of_fixed_radius,
    of_several_prompts,
)
from palpate.reporting.numbers.paired_tests import paired_line
from palpate.reporting.numbers.summary import spread
from palpate.reporting.report import report
from palpate.reporting.tables.table import (
    ATTACK,
    DATA,
    RADIUS,
    Table,
    labelled,
    p_value,
    percent_interval,
    provenance,
)

_RUN: Final = "Run"
_WHERE: Final = ["dataset", "structure", *CONDITION]


def compare(
    runs: Mapping[str, pd.DataFrame],
    out: Path | str,
    *,
    examples: Mapping[str, Iterable[Example]] | None = None,
    paired: bool = True,
    **shown: Any,
) -> Path:
    """Write one report of several runs, with paired differences.

    Args:
        runs: Rows of each run by its name in the report; all are compared with the first.
        out: Folder of the report, as in :func:`palpate.reporting.report`.
        examples: Stored examples of each run.
        paired: Whether to add the paired differences from the first run; False if the runs share
            no images.
        shown: Further arguments of :func:`palpate.reporting.report`.

    Returns:
        Path of the page.

    Raises:
        ValueError: If there are fewer than two runs, no run shares an image and condition with the
            first, or rows cannot be reported.
    """
    if len(runs) < 2:
        raise ValueError(f"Expected two or more runs to compare, got {', '.join(runs) or 'none'}.")
    runs = {run: rows_of_images(rows) for run, rows in runs.items()}
    named = [_named(run, rows) for run, rows in runs.items()]
    pictures = [
        replace(each, row=replace(each.row, dataset=f"{each.row.dataset}, {run}"))
        for run, some in (examples or {}).items()
        for each in some
    ]
    together = pd.concat(named, ignore_index=True)
    # pandas drops attributes that differ between the parts, as for runs with different metrics.
    declared = {k: v for rows in runs.values() for k, v in rows.attrs.get("metrics", {}).items()}
    together.attrs["metrics"] = declared
    return report(
        together,
        out,
        examples=pictures,
        further=[compared(runs)] if paired else [],
        **shown,
    )


def compared(runs: Mapping[str, pd.DataFrame]) -> Table:
    """Make the table of paired differences between the first run and each other run.

    Samples are paired by data set, structure and key, regardless of their prompts. If a run has
    several prompts per sample, they are also paired by prompt level. Conditions and levels that
    only one run has are left out.

    Raises:
        ValueError: If no run shares an image and condition with the first.
    """
    first, *others = [
        (run, by_sample(of_fixed_radius(checked(rows)))) for run, rows in runs.items()
    ]
    numbers = pd.DataFrame([line for other in others for line in _lines(first, other)])
    if numbers.empty:
        raise ValueError(
            f"Expected runs that attacked the same images alike, got {', '.join(runs)}, which "
            "share no image and condition. Compare runs on one split with the same attacks and, "
            "where one took several prompts of an image, with one of their levels."
        )
    numbers["p_holm"] = holm(numbers["p"])
    seeds = pd.concat([rows["seed"] for _, rows in (first, *others)])
    shown = labelled(numbers)
    shown.insert(1, _RUN, numbers["run"])
    shown["n"] = numbers["n"].astype(str)
    for name, label in (
        ("dsc", "DSC"), ("dsc_first", f"DSC, {first[0]}"), ("difference", "Difference"),
    ):  # fmt: skip
        shown[label] = [percent_interval(line, name) for _, line in numbers.iterrows()]
    shown["p (Holm)"] = numbers["p_holm"].map(p_value)
    return Table(
        name="compare",
        title=f"Against {first[0]}, image by image",
        caption=(
            f"DSC in percent of each run and of {first[0]} on the images that both have"
            f"{_levels([first, *others])}, and the paired difference in points (positive: the "
            "run is better). Two-sided Wilcoxon signed-rank test on group means, p adjusted by "
            "Holm over all lines. "
            f"{provenance(first[1], seeds)}"
        ),
        numbers=numbers,
        shown=shown,
        group_columns=(DATA, _RUN, ATTACK),
        text_columns=(DATA, _RUN, ATTACK, RADIUS),
    )


def _lines(
    first: tuple[str, pd.DataFrame], other: tuple[str, pd.DataFrame]
) -> Iterator[dict[str, object]]:
    on = _matching(first[1], other[1])
    both = other[1].merge(
        first[1][[*on, "dsc"]], on=on, suffixes=("", "_first"), validate="one_to_one"
    )
    for where, some in both.groupby(_WHERE, sort=False):
        groups = some["group"].astype(str)
        line: dict[str, object] = dict(zip(_WHERE, where, strict=True))
        line |= {"facet": some["facet"].iloc[0], "run": other[0], "first": first[0]}
        line |= spread("dsc", mean_interval(some["dsc"], groups))
        line |= spread("dsc_first", mean_interval(some["dsc_first"], groups))
        yield line | paired_line(some["dsc_first"], some["dsc"], some["group"])


def _matching(first: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    """Columns that pair each row of a run with at most one row of the other run."""
    several = of_several_prompts(first) or of_several_prompts(other)
    return [*(BY_LEVEL if several else SAMPLE), *CONDITION]


def _levels(runs: Iterable[tuple[str, pd.DataFrame]]) -> str:
    """Addition to the caption if a run has several prompts per image."""
    several = any(of_several_prompts(rows) for _, rows in runs)
    return ", with prompts of the same level where a run took several of an image" * several


def _named(run: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Add the name of a run to the name of its data set, so that runs are reported separately."""
    named = rows.copy()
    named[RUN], named[OF] = run, rows["dataset"]
    named["dataset"] = rows["dataset"].astype(str) + f", {run}"
    return named
