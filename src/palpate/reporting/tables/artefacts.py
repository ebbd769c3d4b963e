"""Table of the effect of each choice of a protocol: paired differences on the same images."""

from collections.abc import Iterator, Mapping

import pandas as pd

from palpate.evaluation.statistics.intervals import mean_interval, paired_difference
from palpate.reporting.labels import attack_label, epsilon_label
from palpate.reporting.numbers.checked_rows import CONDITION, IMAGE, conditions, facets
from palpate.reporting.numbers.summary import spread
from palpate.reporting.tables.table import ATTACK, DATA, Table, percent_interval, provenance

_CHOICE = "Choice"


def artefacts(rows: pd.DataFrame, variants: Mapping[str, pd.DataFrame]) -> Table:
    """Make the table of differences in DSC between the protocol and its variants.

    Args:
        rows: Checked rows under the protocol itself.
        variants: Checked rows under the protocol with one choice changed, by that choice. Only
            images and conditions that both have are compared.

    Raises:
        ValueError: If a variant shares no image and condition with the protocol.
    """
    numbers = pd.DataFrame(list(_lines(rows, variants)))
    return Table(
        name="artefacts",
        title="Effect of each choice of the protocol",
        caption=(
            "First DSC in percent under the protocol itself, then the paired difference in points "
            "with one choice changed (negative: lower DSC with the change). "
            f"{provenance(rows)}"
        ),
        numbers=numbers,
        shown=pd.DataFrame(_shown(numbers)),
        group_columns=(DATA, ATTACK),
        text_columns=(DATA, ATTACK, _CHOICE),
    )


def _lines(rows: pd.DataFrame, variants: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, object]]:
    for facet, part in facets(rows):
        for condition, some in conditions(part):
            head: dict[str, object] = {
                "facet": facet,
                **dict(zip(CONDITION, condition, strict=True)),
            }
            groups = some["group"].astype(str).to_numpy()
            own = mean_interval(some["dsc"].to_numpy(), groups)
            yield head | {"choice": "", "n": len(some)} | spread("dsc", own)
            for choice, other in variants.items():
                yield head | {"choice": choice} | _difference(some, other, choice)


def _difference(rows: pd.DataFrame, other: pd.DataFrame, choice: str) -> dict[str, object]:
    # Only the name of the condition is compared: a switch may change the units of the norm.
    on = [*IMAGE, "attack", "epsilon"]
    both = rows.merge(other[[*on, "dsc"]], on=on, suffixes=("", "_other"), validate="one_to_one")
    if both.empty:
        raise ValueError(
            f"Expected rows of the same images, attacks and radii with {choice!r}, got none in "
            "common. Run both on the same split with the same attacks."
        )
    groups = both["group"].astype(str).to_numpy()
    lost = paired_difference(both["dsc"], both["dsc_other"], groups)
    return {"n": len(both), **spread("dsc", lost)}


def _shown(numbers: pd.DataFrame) -> Iterator[dict[str, str]]:
    radii = numbers.loc[numbers["attack"] != "clean", ["norm", "epsilon"]].drop_duplicates()
    for (facet, attack), part in numbers.groupby(["facet", "attack"], sort=False):
        for choice, some in part.groupby("choice", sort=False):
            by_radius = {
                line["epsilon"]: percent_interval(line, "dsc") for _, line in some.iterrows()
            }
            cells = {
                epsilon_label(radius["epsilon"], radius["norm"]): by_radius.get(
                    radius["epsilon"], by_radius.get(0.0, "–") if attack == "clean" else "–"
                )
                for _, radius in radii.iterrows()
            }
            yield {
                DATA: str(facet),
                ATTACK: attack_label(str(attack)),
                _CHOICE: str(choice) or "none changed",
                "n": str(int(some["n"].min())),
                **cells,
            }
