"""Compares attacks of one run: image by image, and in strength over the passes that they cost.

An attack may be run with several budgets, such as numbers of steps. Its names in the rows are then
``NAME@BUDGET``, for example ``pgd@10`` and ``pgd@40``.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import pandas as pd

from palpate.errors import did_you_mean
from palpate.evaluation.statistics.intervals import mean_interval
from palpate.evaluation.statistics.significance import holm
from palpate.reporting.labels import attack_label, budget_of, budget_rank, epsilon_label
from palpate.reporting.numbers.checked_rows import (
    BY_LEVEL,
    CONDITION,
    attacked,
    by_sample,
    checked,
    facets,
    is_minimal,
)
from palpate.reporting.numbers.paired_tests import paired_line
from palpate.reporting.numbers.summary import spread
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

Rivals: TypeAlias = Mapping[str, Sequence[str]]

_AGAINST: Final = "Against"
_BUDGET: Final = "Budget"
_PASSES: Final = "Passes"


def compare(rows: pd.DataFrame, attack: str, against: str | Sequence[str]) -> pd.DataFrame:
    """Compare an attack with other attacks on the same images, at the same radii.

    ``difference`` is the DSC under ``attack`` minus that under the other attack: negative means
    that ``attack`` is stronger. Compare the passes as well: an attack that may look more often at
    the model should be stronger.

    >>> rows = evaluate(model, data, {"mine": mine, "pgd": "pgd"}, epsilons=[8 / 255])
    ... # doctest: +SKIP
    >>> compare(rows, "mine", "pgd")  # doctest: +SKIP

    Args:
        rows: Rows of :func:`palpate.evaluation.evaluate`.
        attack: Name of the attack in the rows. If it was run with several budgets
            (``mine@10``, ``mine@40``), the name without them stands for all.
        against: Name or names of the attacks to compare it with.

    Returns:
        One line per data set and structure, radius and pair of attacks: ``n`` images in ``groups``
        patients, ``dsc`` and ``dsc_against`` with their 95 % intervals (``_low``,
        ``_high``), the paired ``difference`` with its interval, ``p`` of the Wilcoxon signed-rank
        test on the means of patients, ``p_holm`` adjusted over all lines, the ``effect`` from -1
        (DSC is lower on every image) to 1, and ``passes`` and ``passes_against``, forward and
        backward passes per image.

    Raises:
        ValueError: If there are no rows of an attack, or the attacks share no radius and image.
    """
    others = [against] if isinstance(against, str) else list(against)
    measured = _measured(rows)
    names = list(measured["attack"].unique())
    pairs = [pair for other in others for pair in _pairs(attack, other, names)]
    return _compared(measured, pairs)


def against_table(rows: pd.DataFrame, rivals: Rivals) -> Table | None:
    """Make the table of :func:`compare` for several attacks.

    Args:
        rows: Rows of a run.
        rivals: For each attack, the attacks to compare it with. Those without rows are left out.

    Returns:
        The table; None if there is nothing to compare.
    """
    measured = _measured(rows)
    names = list(measured["attack"].unique())
    known = {*names, *(budget_of(name)[0] for name in names)}
    pairs = [
        pair
        for attack, others in rivals.items()
        for other in others
        if attack in known and other in known
        for pair in _pairs(attack, other, names)
    ]
    if not pairs:
        return None
    numbers = _compared(measured, pairs)
    shown = labelled(numbers)
    shown.insert(2, _AGAINST, numbers["against"].map(attack_label))
    shown["n"] = numbers["n"].astype(str)
    shown["DSC"] = [percent_interval(line, "dsc") for _, line in numbers.iterrows()]
    shown["DSC, other"] = [percent_interval(line, "dsc_against") for _, line in numbers.iterrows()]
    shown["Difference"] = [percent_interval(line, "difference") for _, line in numbers.iterrows()]
    shown["p (Holm)"] = numbers["p_holm"].map(p_value)
    passes = zip(numbers["passes"], numbers["passes_against"], strict=True)
    shown[_PASSES] = [f"{own:.3g} / {other:.3g}" for own, other in passes]
    return Table(
        name="against",
        title="Attack against attack, image by image",
        caption=(
            "DSC in percent under both attacks on the same images, and the paired difference in "
            "points (negative: the attack in the first column is stronger). Two-sided Wilcoxon "
            "signed-rank test on group means, p adjusted by Holm over all lines. Passes, forward "
            "and backward together, are means per image of both attacks: compare attacks of equal "
            f"cost. {provenance(measured)}"
        ),
        numbers=numbers,
        shown=shown,
        group_columns=(DATA, ATTACK, _AGAINST),
        text_columns=(DATA, ATTACK, _AGAINST, RADIUS),
    )


def strength_table(rows: pd.DataFrame) -> Table | None:
    """Make the table of strength over passes, for attacks that were run with several budgets.

    Attacks with one budget are included, as points to compare with.

    Returns:
        The table; None if no attack was run with several budgets.
    """
    measured = attacked(_measured(rows))
    numbers = pd.DataFrame(list(_strengths(measured)))
    if numbers.empty or numbers.groupby("family")["budget"].nunique().max() < 2:
        return None
    order = ["facet", "family", "norm", "epsilon", "passes"]
    numbers = numbers.sort_values(order, kind="stable").reset_index(drop=True)
    shown = labelled(numbers.assign(attack=numbers["family"]))
    shown[_BUDGET] = numbers["budget"].where(numbers["budget"] != "", "–")
    shown["n"] = numbers["n"].astype(str)
    shown[_PASSES] = [
        f"{forwards:.3g} + {backwards:.3g}"
        for forwards, backwards in zip(numbers["forwards"], numbers["backwards"], strict=True)
    ]
    shown["DSC"] = [percent_interval(line, "dsc") for _, line in numbers.iterrows()]
    return Table(
        name="strength",
        title="Strength over passes",
        caption=(
            "Mean DSC in percent under each attack, by its budget; passes, forward + backward, are "
            f"means per image. {provenance(measured)}"
        ),
        numbers=numbers,
        shown=shown,
        text_columns=(DATA, ATTACK, RADIUS, _BUDGET),
    )


def _strengths(rows: pd.DataFrame) -> Iterator[dict[str, object]]:
    for facet, part in facets(rows):
        for where, some in part.groupby(CONDITION, sort=False):
            condition = dict(zip(CONDITION, where, strict=True))
            family, budget = budget_of(str(condition["attack"]))
            groups = some["group"].astype(str).to_numpy()
            cost = {name: float(some[name].mean()) for name in ("forwards", "backwards")}
            yield {
                "facet": facet,
                **condition,
                "family": family,
                "budget": budget,
                "n": len(some),
                **cost,
                "passes": sum(cost.values()),
                **spread("dsc", mean_interval(some["dsc"].to_numpy(float), groups)),
            }


def _measured(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose DSC can be compared: not of MedIS, nor of attacks that stop at success."""
    if "loss_name" in rows.columns:
        rows = rows[rows["loss_name"].fillna("") == ""]
    return by_sample(checked(rows[~is_minimal(rows)]))


def _pairs(attack: str, other: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """Pair the budgets of two attacks: equal ones, or all with the single one of the other."""
    ours, theirs = _budgets(attack, names), _budgets(other, names)
    if len(ours) > 1 and len(theirs) > 1:
        both = [(ours[b], theirs[b]) for b in ours if b in theirs]
        return both or [(list(ours.values())[-1], list(theirs.values())[-1])]
    return [(one, two) for one in ours.values() for two in theirs.values() if one != two]


def _budgets(attack: str, names: Sequence[str]) -> dict[str, str]:
    """Names in the rows by budget, the smallest first."""
    found = {b: name for name in names for family, b in [budget_of(name)] if family == attack}
    if attack in names:
        found = {budget_of(attack)[1]: attack}
    if not found:
        known = sorted({*names, *(budget_of(name)[0] for name in names)} - {"clean"})
        raise ValueError(
            f"There are no rows of the attack {attack!r} at a fixed radius; expected one of "
            f"{', '.join(known) or 'none'}.{did_you_mean(attack, known)}"
        )
    return dict(sorted(found.items(), key=lambda item: budget_rank(item[1])))


def _compared(rows: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    lines = [line for pair in pairs for line in _lines(rows, *pair)]
    if not lines:
        listed = "; ".join(
            f"{name}: {_radii(rows, name)}" for name in dict.fromkeys(sum(pairs, ()))
        )
        raise ValueError(
            "Expected attacks with rows of the same images at the same radius, got none in common "
            f"({listed or 'an attack and itself'})."
        )
    numbers = pd.DataFrame(lines)
    numbers["p_holm"] = holm(numbers["p"])
    return numbers


def _lines(rows: pd.DataFrame, attack: str, other: str) -> Iterator[dict[str, object]]:
    # Whatever the prompts: attacks on the prompt changed them.
    on = [*BY_LEVEL, "norm", "epsilon"]
    first, second = rows[rows["attack"] == attack], rows[rows["attack"] == other]
    second = second.assign(passes=second["forwards"] + second["backwards"])
    both = first.merge(second[[*on, "dsc", "passes"]], on=on, suffixes=("", "_against"))
    for (facet, norm, epsilon), some in both.groupby(["facet", "norm", "epsilon"], sort=False):
        groups = some["group"].astype(str)
        line: dict[str, object] = {
            "facet": facet, "attack": attack, "against": other, "norm": norm, "epsilon": epsilon,
        }  # fmt: skip
        line |= spread("dsc", mean_interval(some["dsc"], groups))
        line |= spread("dsc_against", mean_interval(some["dsc_against"], groups))
        line |= paired_line(some["dsc_against"], some["dsc"], some["group"])
        line |= {
            "passes": float((some["forwards"] + some["backwards"]).mean()),
            "passes_against": float(some["passes"].mean()),
        }
        yield line


def _radii(rows: pd.DataFrame, attack: str) -> str:
    found = rows.loc[rows["attack"] == attack, ["epsilon", "norm"]].drop_duplicates()
    return ", ".join(
        epsilon_label(epsilon, norm) for epsilon, norm in found.itertuples(index=False)
    )
