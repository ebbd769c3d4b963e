"""A table of the report, and how its numbers become text."""

from dataclasses import dataclass
from typing import Final

import pandas as pd

from palpate.reporting.labels import attack_label, epsilon_label
from palpate.reporting.numbers.checked_rows import IMAGE, listed

DATA: Final = "Data"
ATTACK: Final = "Attack"
RADIUS: Final = "ε"


@dataclass(frozen=True)
class Table:
    """Numbers at full precision, and the same as text for readers.

    ``group_columns`` lead ``shown`` and are printed only where they change; ``text_columns`` are
    set flush left.
    """

    name: str
    title: str
    caption: str
    numbers: pd.DataFrame
    shown: pd.DataFrame
    group_columns: tuple[str, ...] = (DATA, ATTACK)
    text_columns: tuple[str, ...] = (DATA, ATTACK, RADIUS)

    def __repr__(self) -> str:
        return f"Table({self.name!r}: {self.title}, {len(self.shown)} rows)"


def provenance(rows: pd.DataFrame, seeds: pd.Series | None = None) -> str:
    """Protocol, split, seed and number of images, which belong under every table and figure.

    Args:
        rows: What is shown.
        seeds: Those of all that is shown, where that is more than the rows.
    """
    first = rows.iloc[0]
    counts = rows.drop_duplicates(IMAGE).groupby("facet", sort=False).size()
    images = ", ".join(f"{name} {count}" for name, count in counts.items())
    return (
        f"Protocol {first['protocol']}, split {listed(rows['split'])}, seed "
        f"{listed(rows['seed'] if seeds is None else seeds)}; n: {images}. "
        "In brackets, the 95 % bootstrap interval over patients where known, otherwise over images."
    )


def percent(value: float) -> str:
    """A share in percent with one decimal, as the published tables print DSC.

    >>> percent(0.31249), percent(float("nan"))
    ('31.2', '–')
    """
    if pd.isna(value):
        return "–"
    return f"{round(100 * value, 1) + 0.0:.1f}".replace("-", "−")  # adding 0 turns -0 into 0


def percent_interval(line: pd.Series, name: str) -> str:
    """Mean and interval in percent, such as ``31.2 [27.0, 35.9]``; a dash for what is missing."""
    if pd.isna(line.get(name)):
        return "–"
    low, high = line[f"{name}_low"], line[f"{name}_high"]
    bounds = "–" if pd.isna(low) else f"{percent(low)}, {percent(high)}"
    return f"{percent(line[name])} [{bounds}]"


def p_value(value: float) -> str:
    """A p-value with three decimals.

    >>> p_value(0.0004), p_value(0.0312)
    ('<0.001', '0.031')
    """
    if pd.isna(value):
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def labelled(numbers: pd.DataFrame) -> pd.DataFrame:
    """The columns that say which condition a line is about."""
    condition = zip(numbers["attack"], numbers["norm"], numbers["epsilon"], strict=True)
    radius = ["–" if a == "clean" else epsilon_label(e, n) for a, n, e in condition]
    attack = numbers["attack"].map(attack_label)
    attack = attack.where(numbers["norm"] != "l2", attack + " (L2)")
    return pd.DataFrame({DATA: numbers["facet"], ATTACK: attack, RADIUS: radius})
