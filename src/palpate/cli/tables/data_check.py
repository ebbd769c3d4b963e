"""Prints the checks of data sets as tables."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from palpate.data.integrity import (
    CHECKS,
    Finding,
    IntegrityReport,
    Outcome,
    SetReport,
    Wanted,
    check_sets,
)
from palpate.data.locate import locate
from palpate.data.reading.mask_values import Structure
from palpate.progress import Progress, silent

_SHOWN: Final = 5  # maximum number of files listed per finding
_SIGNS: Final[dict[str, tuple[str, str]]] = {
    "pass": ("✓", "green"),
    "note": ("·", "cyan"),
    "warning": ("!", "yellow"),
    "error": ("✗", "bold red"),
    "not run": ("–", "dim"),
}


def check_data(
    names: Sequence[str],
    root: Path | None = None,
    *,
    structures: Sequence[Structure] = (),
    pixels: bool = True,
    progress: Progress = silent,
) -> IntegrityReport:
    """Check data sets by name or path, with the structures of masks that are not binary.

    Raises:
        FileNotFoundError, ValueError: If a data set does not exist; other errors are findings.
    """
    wanted = [Wanted(*locate(name, root)) for name in names]
    return check_sets(wanted, structures=structures, pixels=pixels, progress=progress)


def print_report(report: IntegrityReport, console: Console) -> None:
    """Print the findings in each data set, and then those across data sets."""
    for one in report.sets:
        console.print(_heading(one.name, one.folder))
        console.print(_counts(one))
        console.print(_checks(one.outcomes, one.findings))
        console.print(Group(*_details(one.findings)))
        console.print(_card(one))
    if len(report.sets) > 1:
        console.print(_heading(" · ".join(one.name for one in report.sets)))
        console.print(_checks(report.outcomes, report.findings))
        console.print(Group(*_details(report.findings)))
    console.print(_verdict(report))


def _heading(name: str, folder: Path | None = None) -> Text:
    heading = Text(f"\n{name}", style="bold")
    return heading.append(f"  {folder}", style="not bold dim") if folder else heading


def _counts(one: SetReport) -> Table:
    table = Table("split", "samples", "images", "groups", "structures", box=SIMPLE_HEAD)
    for column in table.columns[1:4]:
        column.justify = "right"
    for split, counts in one.splits.items():
        numbers = (str(n) for n in (counts.samples, counts.images, counts.groups))
        table.add_row(split, *numbers, ", ".join(counts.structures))
    return table


def _checks(outcomes: Mapping[str, Outcome], findings: Sequence[Finding]) -> Table:
    table = Table("", "check", "found", box=SIMPLE_HEAD)
    for check, outcome in outcomes.items():
        sign, style = _SIGNS[outcome]
        texts = [finding.message for finding in findings if finding.check == check]
        found = Text("\n".join(texts) or ("not run" if outcome == "not run" else CHECKS[check]))
        found.stylize("dim" if not texts else "")
        table.add_row(Text(sign, style), Text(check, "dim" if outcome == "not run" else ""), found)
    return table


def _details(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    """The files of all warnings and errors."""
    for finding in findings:
        if finding.severity == "note" or not finding.files:
            continue
        sign, style = _SIGNS[finding.severity]
        yield Text.assemble((f"  {sign} ", style), (finding.check, "bold"))
        more = len(finding.files) - _SHOWN
        lines = [*finding.files[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        yield Padding(Text("\n".join(lines), "dim"), (0, 0, 0, 4))


def _card(one: SetReport) -> Table:
    table = Table.grid(padding=(0, 2))
    if one.card is None:
        table.add_row("  licence", Text("unknown: no published set of this name", "dim"))
        return table
    table.add_row("  set", Text(f"{one.card.title}: {one.card.modality}, {one.card.target}"))
    table.add_row("  licence", Text(one.card.licence))
    table.add_row("  cite", Text(one.card.citation))
    table.add_row("  from", Text(one.card.url))
    return table


def _verdict(report: IntegrityReport) -> Text:
    every = [*report.findings, *(finding for one in report.sets for finding in one.findings)]
    errors, warnings = (
        sum(finding.severity == severity for finding in every) for severity in ("error", "warning")
    )
    numbers = f"{_number(errors, 'error')}, {_number(warnings, 'warning')}"
    if report.passed:
        return Text(f"\nPassed: {numbers}.", style="bold green")
    return Text(f"\nFailed: {numbers}.", style="bold red")


def _number(count: int, word: str) -> str:
    return f"{count or 'no'} {word}{'' if count == 1 else 's'}"
