"""The main table, in the shape of the published Table 1: attacks down, radii across."""

from collections.abc import Iterator, Sequence

import pandas as pd

from palpate.evaluation.metrics import Metric
from palpate.evaluation.results.rows import metrics_in
from palpate.reporting.labels import attack_label, epsilon_label, norm_name, seconds_label
from palpate.reporting.numbers.checked_rows import IMAGE
from palpate.reporting.numbers.worst_case import worst_case_rule
from palpate.reporting.tables.table import ATTACK, DATA, Table, provenance, score_interval, units


def main_tables(rows: pd.DataFrame, scores: pd.DataFrame) -> Iterator[Table]:
    """One table per norm, each with the clean scores; only those where nothing was attacked."""
    seeds = rows.groupby("facet")["seed"].first()
    numbers = scores.assign(
        protocol=rows["protocol"].iloc[0], seed=scores["facet"].map(seeds), level="95 %"
    )
    metrics = [metric for metric in metrics_in(rows) if metric.primary]
    norms = [norm for norm in scores["norm"].unique() if norm]
    for norm in norms or [""]:
        part = scores[scores["norm"].isin(["", norm])]
        other = norm not in ("linf", "")
        yield Table(
            name=f"main-{norm}" if other else "main",
            title=f"{' and '.join(metric.label for metric in metrics)} under attack"
            + (f" ({norm_name(norm)})" if other else ""),
            caption=(
                f"{units(metrics)}; mean over images, without attack and under each attack of "
                "radius ε. Passes are forward + backward passes of the attack per image, "
                f"seconds are per image. {_on_empty(rows)}"
                f"{worst_case_rule(rows, norm)}{provenance(rows)}"
            ),
            numbers=numbers[numbers["norm"].isin(["", norm])],
            shown=pd.DataFrame(_main_lines(part, norm, metrics)),
            group_columns=(DATA, "n", ATTACK, "Passes", "s"),
            text_columns=(DATA, ATTACK, "Score"),
        )


def _on_empty(rows: pd.DataFrame) -> str:
    """The rule for empty masks, if there are any."""
    empty = int((rows.drop_duplicates(IMAGE)["mask_area"] == 0).sum())
    rule = "score 100 where nothing is predicted, and 0 otherwise"
    return f"Images with an empty mask ({empty}) {rule}. " if empty else ""


def _main_lines(
    scores: pd.DataFrame, norm: str, metrics: Sequence[Metric]
) -> Iterator[dict[str, str]]:
    radii = sorted(scores.loc[scores["attack"] != "clean", "epsilon"].unique())
    for name, part in scores.groupby("facet", sort=False):
        clean = part[part["attack"] == "clean"].iloc[0]
        attacks = [a for a in part["attack"].unique() if a != "clean"]
        for attack in attacks or ["clean"]:
            some = part[part["attack"] == attack].set_index("epsilon")
            for metric in metrics:
                yield {
                    DATA: str(name),
                    "n": _span(part["n"]),
                    ATTACK: attack_label(attack) if attacks else "none",
                    "Score": metric.heading,
                    "Clean": score_interval(clean, metric),
                    **{
                        epsilon_label(r, norm): score_interval(some.loc[r], metric)
                        if r in some.index
                        else "–"
                        for r in radii
                    },
                    "Passes": f"{some['forwards'].mean():.3g} + {some['backwards'].mean():.3g}",
                    "s": seconds_label(some["seconds"].mean()),
                }


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low}–{high}"
