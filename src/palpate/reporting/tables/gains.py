"""Table of the gain from fine-tuning: paired clean scores before and after."""

from collections.abc import Iterator

import pandas as pd

from palpate.evaluation.statistics.intervals import mean_interval, paired_difference
from palpate.evaluation.statistics.significance import paired_test
from palpate.reporting.numbers.checked_rows import IMAGE, facets
from palpate.reporting.numbers.summary import spread
from palpate.reporting.tables.table import DATA, Table, p_value, percent_interval, provenance


def gains(rows: pd.DataFrame, baseline: pd.DataFrame) -> Table:
    """Make the table of clean scores before and after fine-tuning, on the images that have both.

    Args:
        rows: Checked rows of the fine-tuned model.
        baseline: Checked rows of the model before fine-tuning; only clean rows are used.

    Raises:
        ValueError: If the two were scored under different protocols, or share no image and prompt.
    """
    ours, theirs = rows["protocol"].iloc[0], baseline["protocol"].iloc[0]
    if ours != theirs:
        raise ValueError(
            f"Expected a baseline scored under the protocol of the rows ({ours}), got one under "
            f"{theirs}: the gain would be that of the protocol, too. Delete the baseline (the "
            "folder baseline/ of a run) and score it again; `palpate run` does."
        )
    numbers = pd.DataFrame(list(_lines(_clean(rows), _clean(baseline))))
    shown = pd.DataFrame({DATA: numbers["facet"], "n": numbers["n"].astype(str)})
    for name, label in _COLUMNS.items():
        if name not in numbers:  # IoU, where an evaluation left it out
            continue
        shown[label] = [percent_interval(line, name) for _, line in numbers.iterrows()]
    shown["p"] = numbers["p"].map(p_value)
    return Table(
        name="baseline",
        title="Gain from fine-tuning",
        caption=(
            "Clean DSC and IoU in percent, mean over images, of the model without its adapter "
            "(frozen) and with it (tuned), and the paired gain in points with a two-sided Wilcoxon "
            f"signed-rank test on group means. {provenance(rows)}"
        ),
        numbers=numbers,
        shown=shown,
        group_columns=(DATA,),
        text_columns=(DATA,),
    )


_COLUMNS = {
    "dsc_frozen": "DSC, frozen",
    "dsc_tuned": "DSC, tuned",
    "gain": "Gain in DSC",
    "iou_frozen": "IoU, frozen",
    "iou_tuned": "IoU, tuned",
}


def _lines(rows: pd.DataFrame, baseline: pd.DataFrame) -> Iterator[dict[str, object]]:
    scores = [name for name in ("dsc", "iou") if name in rows and name in baseline]
    before = baseline[[*IMAGE, *scores]]
    both = rows.merge(before, on=IMAGE, suffixes=("_tuned", "_frozen"), validate="one_to_one")
    if both.empty:
        raise ValueError(
            "Expected a baseline of the images that were attacked, got one that shares no image "
            "and prompt with the rows. Evaluate both on the same split with the same prompts."
        )
    for name, part in facets(both):
        groups = part["group"].astype(str).to_numpy()
        test = paired_test(part["dsc_frozen"], part["dsc_tuned"], groups)
        gain = paired_difference(part["dsc_frozen"], part["dsc_tuned"], groups)
        line: dict[str, object] = {"facet": name, "n": test.n, "groups": test.groups}
        line |= spread("gain", gain) | {"p": test.p_value, "effect": test.effect}
        for column in (f"{score}_{whose}" for score in scores for whose in ("frozen", "tuned")):
            line |= spread(column, mean_interval(part[column].to_numpy(), groups))
        yield line


def _clean(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["attack"] == "clean"]
