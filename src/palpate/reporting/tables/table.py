"""A table of the report, and the formatting of its numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final

import pandas as pd

from palpate.evaluation.metrics import Metric
from palpate.evaluation.statistics.intervals import FEWEST_UNLIMITED
from palpate.reporting.labels import INTERVAL, attack_label, epsilon_label
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
    """Protocol, split, seed and number of images, for the caption of every table and figure.

    Args:
        rows: Rows that the table is made of.
        seeds: Seeds of everything shown, where that is more than these rows.
    """
    first = rows.iloc[0]
    counts = rows.drop_duplicates(IMAGE).groupby("facet", sort=False).size()
    images = ", ".join(f"{name} {count}" for name, count in counts.items())
    return (
        f"Protocol {first['protocol']}, split {listed(rows['split'])}, seed "
        f"{listed(rows['seed'] if seeds is None else seeds)}; n: {images}. "
        f"In brackets, the {INTERVAL}, over patients where known, otherwise over images."
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


def score_interval(line: pd.Series, metric: Metric) -> str:
    """Mean and interval of a metric: in percent if its values are shares, else in its unit.

    A metric without limits has no interval in a small sample; ``[n < 30]`` says how many
    independent images or patients it needs.
    """
    if metric.is_share:
        return percent_interval(line, metric.name)
    if pd.isna(line.get(metric.name)):
        return "–"
    low, high = line[f"{metric.name}_low"], line[f"{metric.name}_high"]
    is_few = line["groups"] < FEWEST_UNLIMITED and not isfinite(sum(metric.range))
    missing = f"n < {FEWEST_UNLIMITED}" if is_few else "–"
    bounds = missing if pd.isna(low) else f"{number(low)}, {number(high)}"
    return f"{number(line[metric.name])} [{bounds}]"


def number(value: float) -> str:
    """A value in a unit of its own: one decimal, or three digits where it is below 1.

    >>> number(9.26), number(0.01234), number(0.0)
    ('9.3', '0.0123', '0.0')
    """
    text = f"{value:.1f}" if abs(value) >= 1 or value == 0 else f"{value:.3g}"
    return text.replace("-", "−")


def units(metrics: Iterable[Metric]) -> str:
    """Describe the units of metrics for a caption, and for which of them lower is better.

    >>> from palpate.evaluation.metrics import METRICS
    >>> units([METRICS["dsc"], METRICS["iou"], METRICS["hd95"]])
    'DSC and IoU in percent, HD95 in px (lower is better)'
    """
    metrics = list(metrics)
    shares = [m.label for m in metrics if m.is_share]
    parts = [f"{_joined(shares)} in percent"] if shares else []
    for metric in metrics:
        if not metric.is_share:
            better = f" ({metric.direction} is better)"
            parts.append(metric.label + (f" in {metric.unit}" if metric.unit else "") + better)
    return ", ".join(parts)


def _joined(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def p_value(value: float) -> str:
    """A p-value with three decimals.

    >>> p_value(0.0004), p_value(0.0312)
    ('<0.001', '0.031')
    """
    if pd.isna(value):
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def labelled(numbers: pd.DataFrame) -> pd.DataFrame:
    """Columns that name the data, attack and radius of each line."""
    condition = zip(numbers["attack"], numbers["norm"], numbers["epsilon"], strict=True)
    radius = ["–" if a == "clean" else epsilon_label(e, n) for a, n, e in condition]
    attack = numbers["attack"].map(attack_label)
    attack = attack.where(numbers["norm"] != "l2", attack + " (L2)")
    return pd.DataFrame({DATA: numbers["facet"], ATTACK: attack, RADIUS: radius})
