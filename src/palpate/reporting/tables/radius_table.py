"""The table of robustness radii: the smallest radius at which half of the predictions fail."""

from math import isinf

import pandas as pd

from palpate.reporting.labels import epsilon_label, length_label, seconds_label
from palpate.reporting.tables.table import (
    ATTACK,
    DATA,
    Table,
    labelled,
    percent_interval,
    provenance,
)


def radius_table(rows: pd.DataFrame, numbers: pd.DataFrame) -> Table:
    """One line per data set and attack that searches for the smallest perturbation."""
    named = labelled(numbers)
    shown = pd.DataFrame({DATA: named[DATA], ATTACK: named[ATTACK]})
    shown["n"] = numbers["n"].astype(str)
    shown["Median radius"] = [_interval(line) for _, line in numbers.iterrows()]
    shown["Broken"] = [percent_interval(line, "broken") for _, line in numbers.iterrows()]
    shown["Not broken"] = numbers["unbroken"].astype(str)
    shown["Within"] = [_bound(line) for _, line in numbers.iterrows()]
    shown["Passes"] = [
        f"{line['forwards']:.3g} + {line['backwards']:.3g}" for _, line in numbers.iterrows()
    ]
    shown["s"] = numbers["seconds"].map(seconds_label)
    lost = int(numbers["lost"].max())
    return Table(
        name="radius",
        title="Robustness radius",
        caption=(
            "Median over images of the length of the shortest perturbation found that makes the "
            "prediction fail: an upper bound, because a better attack may find a shorter one; its "
            "interval is made of intervals of shares. "
            "Images whose prediction did not fail within the bound count as beyond every radius; "
            f"{lost} whose clean prediction had already failed are left out. Passes are "
            f"forward + backward passes per image, seconds are per image. {provenance(rows)}"
        ),
        numbers=numbers,
        shown=shown,
        text_columns=(DATA, ATTACK),
    )


def _interval(line: pd.Series) -> str:
    if pd.isna(line["radius"]):
        return "–"
    low, high = line["radius_low"], line["radius_high"]
    bounds = "–" if pd.isna(low) else f"{_length(low, line)}, {_length(high, line)}"
    return f"{_length(line['radius'], line)} [{bounds}]"


def _length(value: float, line: pd.Series) -> str:
    if isinf(value):
        return "not reached"
    return length_label(value, str(line["norm"]))


def _bound(line: pd.Series) -> str:
    epsilon = float(line["epsilon"])
    is_all = isinf(epsilon) or (line["norm"] == "linf" and epsilon == 1)
    return "pixel range" if is_all else epsilon_label(epsilon, str(line["norm"]))
