"""Prints the verdict on acceptance criteria in the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from palpate.reporting.acceptance.verdict import Verdict
from palpate.reporting.acceptance.wording import heading, lines


def show_verdict(verdict: Verdict) -> None:
    """Print one line for each criterion and part, to standard error as all tables."""
    console = Console(stderr=True, highlight=False)
    table = Table("Criterion", "", "", "n", "Verdict", box=SIMPLE_HEAD, title_justify="left")
    for line in lines(verdict):
        cells = (
            f"{line.criterion}\n{line.where}".strip(),
            line.threshold,
            f"{line.value}\n{line.interval}",
            line.n,
            f"{line.verdict}\n{line.note}".strip(),
        )
        table.add_row(*map(escape, cells))
    console.print(table)
    for sentence in (heading(verdict), verdict.multiplicity, str(verdict.fixing)):
        console.print(sentence, markup=False)
