"""Compares our scores with those of the published study, in the layout of its Table 1.

DSC and IoU in percent as printed there, for CLIPSeg with dense-vl adapters at 352 pixels; radii in
units of the normalised image.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import pandas as pd

from palpate.reporting.labels import attack_label, epsilon_label
from palpate.reporting.numbers.summary import scores
from palpate.reporting.tables.table import (
    ATTACK,
    DATA,
    Table,
    percent,
    percent_interval,
    provenance,
)

Scores = Mapping[tuple[str, float], tuple[float, float]]

_RADII = (0.01, 0.03, 0.1, 0.5)


def _row(clean: str, fgsm: str, pgd: str) -> Scores:
    """``DSC/IoU`` of one data set, attack by attack."""
    listed = {"clean": (0.0,), "fgsm": _RADII, "pgd": _RADII}
    texts = {"clean": clean, "fgsm": fgsm, "pgd": pgd}
    found = {}
    for attack, radii in listed.items():
        for radius, text in zip(radii, texts[attack].split(), strict=True):
            dsc, iou = map(float, text.split("/"))
            found[attack, radius] = (dsc / 100, iou / 100)
    return found


TABLE_1: Mapping[str, Scores] = MappingProxyType(
    {
        "kvasir": _row(
            "88.83/82.72",
            "75.08/64.31 67.57/55.91 58.36/45.97 51.81/39.49",
            "71.30/61.84 79.17/71.25 47.78/37.43 37.69/27.63",
        ),
        "isic": _row(
            "92.27/86.29",
            "84.38/74.79 80.23/69.02 75.84/63.14 74.05/61.51",
            "89.34/82.15 90.36/83.71 83.24/74.65 82.65/73.22",
        ),
        "camus": _row(
            "89.87/82.13",
            "75.99/63.29 73.25/60.05 71.05/57.39 48.17/35.12",
            "46.56/36.10 34.21/24.85 15.16/9.22 14.47/8.6",
        ),
    }
)


def published(rows: pd.DataFrame) -> Table | None:
    """Our scores above the published ones, where the study has the data set, attack and radius.

    Structures of a data set are averaged together, as the study does.

    Args:
        rows: Checked.

    Returns:
        The table, or None where nothing was attacked as in the study.
    """
    if "iou" not in rows:  # an evaluation may have left it out, and the study prints both
        return None
    rows = rows[rows["dataset"].isin(TABLE_1) & rows["norm"].isin(["", "normalised"])]
    if (rows["attack"] == "clean").all():
        return None
    numbers = scores(rows.assign(facet=rows["dataset"], structure="all"))
    known = [TABLE_1[d].get((a, e)) for d, a, e in _keys(numbers)]
    numbers["published_dsc"] = [pair[0] if pair else None for pair in known]
    numbers["published_iou"] = [pair[1] if pair else None for pair in known]
    return Table(
        name="published",
        title="Comparison with the published Table 1",
        caption=(
            "DSC and IoU in percent under the published procedure, and as published for another "
            "model (CLIPSeg at 352 pixels) on the whole data sets. How much of a perturbation the "
            f"stored files keep also depends on the model. {provenance(rows)}"
        ),
        numbers=numbers,
        shown=pd.DataFrame(_shown(numbers)),
        group_columns=(DATA, ATTACK),
        text_columns=(DATA, ATTACK, "Score", "From"),
    )


def _keys(numbers: pd.DataFrame) -> Iterator[tuple[str, str, float]]:
    for _, line in numbers.iterrows():
        yield str(line["dataset"]), str(line["attack"]), round(float(line["epsilon"]), 6)


def _shown(numbers: pd.DataFrame) -> Iterator[dict[str, str]]:
    for (dataset, attack), part in numbers.groupby(["dataset", "attack"], sort=False):
        if attack not in ("fgsm", "pgd"):
            continue
        clean = numbers[(numbers["dataset"] == dataset) & (numbers["attack"] == "clean")]
        lines = pd.concat([clean, part])
        for score in ("dsc", "iou"):
            for whose in ("here", "published"):
                yield {
                    DATA: str(dataset),
                    ATTACK: attack_label(str(attack)),
                    "Score": score.upper() if score == "dsc" else "IoU",
                    "From": whose,
                    **{_column(line): _cell(line, score, whose) for _, line in lines.iterrows()},
                }


def _column(line: pd.Series) -> str:
    if line["attack"] == "clean":
        return "Clean"
    return epsilon_label(float(line["epsilon"]), "normalised")


def _cell(line: pd.Series, score: str, whose: str) -> str:
    if whose == "here":
        return percent_interval(line, score)
    return percent(line[f"published_{score}"])
