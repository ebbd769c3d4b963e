"""Transfer of attacks between models: surrogates in rows, victims in columns."""

import pandas as pd

from palpate.reporting.labels import INTERVAL, epsilon_label
from palpate.reporting.tables.table import Table, percent_interval

_SURROGATE, _RADIUS = "Surrogate", "ε"


def transfer_table(numbers: pd.DataFrame, attack: str) -> Table:
    """The surrogate by victim matrix of DSC.

    Args:
        numbers: As :func:`palpate.evaluation.transfer_matrix` returns them.
        attack: Name of the attack, for the caption.
    """
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for _, cell in numbers.sort_values("epsilon", kind="stable").iterrows():
        radius = epsilon_label(cell["epsilon"], cell["norm"])
        head = {_RADIUS: radius, _SURROGATE: cell["surrogate"]}
        line = lines.setdefault((radius, cell["surrogate"]), head)
        spread = cell.rename({"low": "dsc_low", "high": "dsc_high"})
        line[f"on {cell['victim']}"] = percent_interval(spread, "dsc")
    clean = numbers.drop_duplicates("victim")
    before = ", ".join(
        f"{victim} {100 * dsc:.1f}"
        for victim, dsc in zip(clean["victim"], clean["dsc_clean"], strict=True)
    )
    return Table(
        name="transfer",
        title="Transfer between models",
        caption=(
            f"DSC in percent of each victim (across) under {attack} made on each surrogate "
            "(down); where both are the same model, the attack is white-box. Clean: "
            f"{before}. n = {int(numbers['n'].max())}. The attack of an image takes "
            f"{numbers['forwards'].max():.3g} + {numbers['backwards'].max():.3g} forward + "
            f"backward passes through the surrogate. In brackets, the {INTERVAL}, over patients "
            "where known, otherwise over images."
        ),
        numbers=numbers,
        shown=pd.DataFrame(list(lines.values())),
        group_columns=(_RADIUS,),
        text_columns=(_RADIUS, _SURROGATE),
    )
