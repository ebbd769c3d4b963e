"""The per-image worst case over all white-box attacks of a run."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pandas as pd

from palpate.evaluation.results.white_box import is_white
from palpate.reporting.labels import WORST, attack_label
from palpate.reporting.numbers.checked_rows import IMAGE, in_order, is_minimal
from palpate.reporting.numbers.focus import Focus

_BALL: Final = ["facet", "norm", "epsilon"]
_COSTS: Final = ["forwards", "backwards", "seconds"]


def with_worst_case(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the worst case over the white-box attacks as rows of an attack ``worst-case``.

    The row of an image is that of the white-box attack with the lowest DSC; of equal ones, the
    first. Its costs are the sums over all of them. White-box attacks are those that used the
    gradient of the attacked model, at a fixed radius. There is a worst case for each norm and
    radius at which a data set and structure was attacked by two or more of them. An image that
    lacks one of them, as after an interruption, has no worst case.

    Args:
        rows: From :func:`palpate.reporting.numbers.checked_rows.checked`.

    Returns:
        The rows with those of the worst case, in the same order.
    """
    white = rows[_is_attacked(rows)]
    attacks = white.groupby(_BALL)["attack"].transform("nunique")
    image = [*_BALL, *IMAGE]
    per_image = white.groupby(image)["attack"].transform("nunique")
    whole = white[(attacks > 1) & (per_image == attacks)]
    if whole.empty:
        return rows
    each = whole.groupby(image, sort=False)
    worst = whole.loc[each["dsc"].idxmin()].assign(attack=WORST)
    worst[_COSTS] = each[_COSTS].sum().to_numpy()
    return in_order(pd.concat([rows, worst], ignore_index=True))


def without_worst_case(rows: pd.DataFrame) -> pd.DataFrame:
    """Drop the rows that :func:`with_worst_case` added."""
    return rows[rows["attack"] != WORST].reset_index(drop=True)


def name_attacks(focus: Focus | None, rows: pd.DataFrame) -> Focus | None:
    """If a condition is the worst case, add the attacks at its norm and radius, in order."""
    if focus is None or focus.attack != WORST:
        return focus
    same = (rows["norm"] == focus.norm) & (rows["epsilon"] == focus.epsilon)
    attacks = rows.loc[same & _is_attacked(rows), "attack"].unique()
    return replace(focus, over=tuple(map(str, attacks)))


def worst_case_rule(rows: pd.DataFrame, norm: str) -> str:
    """A sentence on the worst case for captions; empty if there is none in this norm."""
    white = rows[_is_attacked(rows) & (rows["norm"] == norm)]
    if (white.groupby(_BALL)["attack"].nunique() < 2).all():
        return ""
    attacks = enumerate_attacks([str(attack) for attack in white["attack"].unique()])
    return f"Worst case: for each image, the lowest DSC under {attacks}. "


def enumerate_attacks(attacks: Sequence[str]) -> str:
    """Display names of attacks in words.

    >>> enumerate_attacks(["fgsm", "pgd", "apgd"]), enumerate_attacks(["pgd"])
    ('FGSM, PGD and APGD', 'PGD')
    """
    *most, last = map(attack_label, attacks)
    return f"{', '.join(most)} and {last}" if most else last


def _is_attacked(rows: pd.DataFrame) -> pd.Series:
    return is_white(rows) & ~is_minimal(rows) & ~rows["attack"].isin(["clean", WORST])
