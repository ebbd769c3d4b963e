"""Writes the tables of the report as CSV, Markdown and LaTeX.

The CSV holds every number at full precision, one condition a line; the other two are for readers.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pandas as pd

from palpate.atomic import write_text
from palpate.evaluation.sanity import Check, Status
from palpate.reporting.numbers.summary import Summary
from palpate.reporting.tables.layouts import all_tables
from palpate.reporting.tables.markdown_latex import latex, markdown
from palpate.reporting.tables.table import Table

# Every table that a report may write: those of an earlier report are removed, other files kept.
NAMES: Final = (
    "main", "main-l2", "main-normalised", "baseline", "published", "artefacts", "radius", "tests",
    "failures", "curve-area", "size", "prompt", "worst-decile", "quality", "compare", "against",
    "strength", "texts", "sensitivity", "text-examples", "medis-fused-targeted",
    "medis-losses-targeted", "medis-fused-untargeted", "medis-losses-untargeted",
)  # fmt: skip
_FORMATS: Final = (".csv", ".md", ".tex")


def write_tables(
    rows: pd.DataFrame,
    summary: Summary,
    folder: Path | str,
    *,
    sanity: Sequence[Check],
    baseline: pd.DataFrame | None = None,
    variants: Mapping[str, pd.DataFrame] | None = None,
    further: Sequence[Table] = (),
) -> list[Table]:
    """Write each table as ``<name>.csv``, ``.md`` and ``.tex``.

    Args:
        rows: Rows from :func:`palpate.reporting.numbers.checked_rows.checked`.
        summary: Summary of these rows.
        folder: Folder of the tables; created if missing. Tables of an earlier report are replaced,
            or removed if they are no longer made.
        sanity: Sanity card of the run, whose result is in every caption.
        baseline: Checked rows of the model before fine-tuning, for the table of gains.
        variants: Checked rows under the protocol with one choice changed, by that choice.
        further: Additional tables, not computed from the rows.

    Returns:
        The tables, for the page to show.
    """
    outcome = f"Sanity card: {tally(sanity)}."
    tables = [
        replace(table, caption=f"{table.caption} {outcome}")
        for table in (*all_tables(rows, summary, baseline, variants), *further)
    ]
    write(tables, folder)
    _remove_others(tables, Path(folder))
    return tables


def write(tables: Iterable[Table], folder: Path | str) -> None:
    """Write each table as ``<name>.csv``, ``.md`` and ``.tex`` into a folder, made if missing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        path = folder / table.name
        write_text(path.with_suffix(".csv"), table.numbers.to_csv(index=False))
        write_text(path.with_suffix(".md"), markdown(table))
        write_text(path.with_suffix(".tex"), latex(table))


def _remove_others(tables: Iterable[Table], folder: Path) -> None:
    """Remove tables of an earlier report that this one does not write."""
    for name in set(NAMES) - {table.name for table in tables}:
        for ending in _FORMATS:
            (folder / name).with_suffix(ending).unlink(missing_ok=True)


def tally(sanity: Sequence[Check]) -> str:
    """Count the checks of a card by status, as text.

    >>> tally([])
    'no checks'
    """
    counts = Counter(check.status for check in sanity)
    words: dict[Status, str] = {
        "pass": "pass", "warn": "warn", "fail": "fail", "not_run": "not run"
    }  # fmt: skip
    said = ", ".join(f"{counts[s]} {word}" for s, word in words.items() if counts[s])
    return said or "no checks"
