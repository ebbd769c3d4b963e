"""Prints the scores of a run as tables in the terminal."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from palpate.cli.json_output import give
from palpate.data import NO_FOREGROUND
from palpate.evaluation.sanity import Check, load_card
from palpate.pipeline.run.acceptance import read_verdict
from palpate.reporting.labels import attack_label, epsilon_label, norm_name
from palpate.reporting.tables.table import Table as Printed
from palpate.reporting.tables.table import p_value, percent_interval

_ON_EMPTY = "Images with an empty mask: DSC is 100 where nothing is predicted, 0 otherwise."


def show_scores(folder: Path) -> None:
    """Print the scores before and after fine-tuning and under attack, from the tables of a run.

    They go to standard error, so that standard output contains only the path of the page.
    """
    console = Console(stderr=True, highlight=False)
    gained = folder / "tables" / "baseline.csv"
    if gained.is_file():
        for _, line in pd.read_csv(gained).iterrows():
            console.print(
                f"{line['facet']}: clean DSC {percent_interval(line, 'dsc_frozen')} before and "
                f"{percent_interval(line, 'dsc_tuned')} after fine-tuning (n = {line['n']}).",
                markup=False,
            )
    for scores in _main_tables(folder):
        for facet, part in scores.groupby("facet", sort=False):
            console.print(_heading(str(facet), part), markup=False)
            if len(part) > 1:
                console.print(_scores(part))
            if (part["structure"] == NO_FOREGROUND).any():
                console.print(f"  {_ON_EMPTY}", markup=False)
    for told in _rivals(folder / "tables" / "against.csv"):
        console.print(told, markup=False)
    if (folder / "sanity.json").is_file():
        for doubt in _doubts(load_card(folder / "sanity.json")):
            console.print(doubt, markup=False)


def print_scores(folder: Path, json: Path | None, *, page: Path | None = None) -> None:
    """Print the scores of a report, its verdict and the path of its page, or write them as JSON.

    Args:
        folder: Folder of the report.
        json: File for the values, ``-`` for standard output; None for tables.
        page: File whose path is printed; by default that of the page.
    """

    def show() -> None:
        show_scores(folder)
        if verdict := read_verdict(folder):
            print(verdict, file=sys.stderr)
        print(page or folder / "report" / "index.html")

    give(lambda: scores_of(folder), show, json)


def scores_of(folder: Path) -> dict[str, Any]:
    """The scores of a run as plain values: its page, the lines of its tables, the sanity card."""
    tables = [_records(scores) for scores in _main_tables(folder)]
    gained, card = folder / "tables" / "baseline.csv", folder / "sanity.json"
    return {
        "run": str(folder),
        "page": str(folder / "report" / "index.html"),
        "scores": [line for lines in tables for line in lines],
        "baseline": _records(pd.read_csv(gained)) if gained.is_file() else [],
        "sanity": [asdict(check) for check in load_card(card)] if card.is_file() else [],
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in line.items()} for line in table.to_dict("records")]


def _main_tables(folder: Path) -> Iterator[pd.DataFrame]:
    """The main tables of a run, one for each norm; every one has the clean scores."""
    mains = (folder / "tables").glob("main*.csv")
    for path in sorted(mains, key=lambda path: (len(path.name), path.name)):
        # Names such as `nan` are names; numbers can be missing, as the interval of a single image.
        empty = {key: [""] for key in ("dsc", "dsc_low", "dsc_high")}
        yield pd.read_csv(path, keep_default_na=False, na_values=empty)


def _rivals(path: Path) -> Iterator[str]:
    """Sentences on the attacks that the recipe compares with each other."""
    numbers = pd.read_csv(path, keep_default_na=False, na_values=[""]) if path.is_file() else None
    for _, line in () if numbers is None else numbers.iterrows():
        yield (
            f"{line['facet']}, {epsilon_label(line['epsilon'], line['norm'])}: DSC under "
            f"{attack_label(line['attack'])} minus DSC under {attack_label(line['against'])}: "
            f"{percent_interval(line, 'difference')} points, p = {p_value(line['p_holm'])}, with "
            f"{line['passes']:.3g} and {line['passes_against']:.3g} passes (n = {line['n']})."
        )


def show_table(table: Printed) -> None:
    """Print a table of the report, to standard error as :func:`show_scores` does."""
    shown = Table(
        *table.shown.columns,
        title=table.title,
        caption=escape(table.caption),
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
    )
    for line in table.shown.itertuples(index=False, name=None):
        shown.add_row(*map(escape, line))
    Console(stderr=True, highlight=False).print(shown)


def _heading(facet: str, scores: pd.DataFrame) -> str:
    """The number of images and the clean score, in a line above the table of attacks."""
    clean = scores[scores["attack"] == "clean"].iloc[0]
    norms = _other_norms(scores[scores["attack"] != "clean"])
    return f"DSC of {facet}{norms}: clean {percent_interval(clean, 'dsc')}, n = {clean['n']}" + (
        "; under attack:" if len(scores) > 1 else "."
    )


def _scores(scores: pd.DataFrame) -> Table:
    """DSC in percent: a row for each attack, a column for each radius.

    The number of images of an attack is shown where it is smaller, as after an interruption.
    """
    count = int(scores.loc[scores["attack"] == "clean", "n"].iloc[0])
    attacked = scores[scores["attack"] != "clean"]
    pairs = zip(attacked["epsilon"], attacked["norm"], strict=True)
    radii = sorted(set(pairs))  # the unit of a radius depends on the norm
    columns = ("", *(epsilon_label(*radius) for radius in radii))
    table = Table(*columns, box=SIMPLE_HEAD)
    for attack, part in attacked.groupby("attack", sort=False):
        cells = {(line["epsilon"], line["norm"]): _stacked(line) for _, line in part.iterrows()}
        fewer = f" (n = {part['n'].min()})" if part["n"].min() < count else ""
        table.add_row(
            escape(f"{attack_label(str(attack))}{fewer}"),
            *(cells.get(radius, "–") for radius in radii),
        )
    return table


def _other_norms(scores: pd.DataFrame) -> str:
    """The norms of the radii, if they are not all L-infinity."""
    norms = sorted({str(norm) for norm in scores["norm"]} - {"linf", ""})
    return f" ({', '.join(map(norm_name, norms))})" if norms else ""


def _doubts(card: Sequence[Check]) -> Iterator[str]:
    """Count the checks that passed and failed, and list those that did not pass."""
    counts = Counter(check.status for check in card)
    listed = [f"{counts[s]} {s.replace('_', ' ')}" for s in ("pass", "warn", "fail", "not_run")]
    yield f"Sanity card: {', '.join(listed)}."
    for check in card:
        if check.status in ("fail", "warn"):
            yield f"  {check.status}: {check.name}: {check.measured} {check.meaning}"


def _stacked(line: pd.Series) -> str:
    """The mean above its interval, so that four radii fit into a narrow terminal."""
    mean, _, interval = percent_interval(line, "dsc").partition(" ")
    return f"{mean}\n[dim]{escape(interval)}[/dim]"
