"""The tables of MedIS: success rate and distortion, with and without fusion."""

import pandas as pd

from palpate.evaluation.medis.fusion import FUSED, success_rates
from palpate.evaluation.medis.rows import UNTARGETED
from palpate.reporting.labels import INTERVAL
from palpate.reporting.tables.table import DATA, Table, percent

LOSS = "Loss"

_RATE, _STEPS = "success, %", "steps"
_KINDS = {
    (True, True): ("medis-fused-targeted", "MedIS with parallel fusion, towards a target"),
    (False, True): ("medis-losses-targeted", "MedIS loss by loss, towards a target"),
    (True, False): ("medis-fused-untargeted", "MedIS with parallel fusion, without a target"),
    (False, False): ("medis-losses-untargeted", "MedIS loss by loss, without a target"),
}


def medis_tables(lines: pd.DataFrame) -> list[Table]:
    """Make the tables of MedIS, in the layout of its published files.

    One line for each data set, or for each data set and loss; for each target its success rate
    and the mean number of steps of the successes, which is the L-infinity distance in grey
    levels.

    Args:
        lines: Lines of one protocol and seed, from :func:`palpate.evaluation.medis_lines`.

    Returns:
        With and without fusion, towards targets and without one, where there are lines of it.
        Their numbers are in long form, see :func:`palpate.evaluation.medis.fusion.success_rates`.
    """
    rates = success_rates(lines)
    tables = []
    for (fused, targeted), (name, title) in _KINDS.items():
        some = (rates["loss"] == FUSED) == fused
        some &= (rates["target"] != UNTARGETED) == targeted
        if some.any():
            numbers = rates[some].reset_index(drop=True)
            tables.append(_table(name, title, numbers, fused=fused))
    return tables


def _table(name: str, title: str, numbers: pd.DataFrame, *, fused: bool) -> Table:
    head = [DATA] if fused else [DATA, LOSS]
    sound = numbers["protocol"].iloc[0] != "notebooks"
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for _, rate in numbers.iterrows():
        place = (rate["dataset"],) if fused else (rate["dataset"], rate["loss"])
        line = lines.setdefault(place, dict(zip(head, place, strict=True)))
        prefix = "" if rate["target"] == UNTARGETED else f"{str(rate['target']).capitalize()}: "
        line[f"{prefix}{_RATE}"] = _sound_rate(rate) if sound else _published_rate(rate)
        line[f"{prefix}{_STEPS}"] = _number(rate["steps"], 2 if sound else 3)
    return Table(
        name=name,
        title=title,
        caption=_caption(numbers, sound=sound),
        numbers=numbers,
        shown=pd.DataFrame(list(lines.values())).fillna("–"),
        group_columns=(DATA,),
        text_columns=(DATA, LOSS),
    )


def _sound_rate(rate: pd.Series) -> str:
    """Rate with its interval and the number of images."""
    if pd.isna(rate["success"]):
        return "–"
    ends = "–" if pd.isna(rate["success_low"]) else (
        f"{percent(rate['success_low'])}, {percent(rate['success_high'])}"
    )  # fmt: skip
    return f"{percent(rate['success'])} [{ends}] of {rate['n']}"


def _published_rate(rate: pd.Series) -> str:
    return _number(100 * rate["success"], 2)


def _number(value: float, digits: int) -> str:
    return "–" if pd.isna(value) else f"{value:.{digits}f}"


def _caption(numbers: pd.DataFrame, *, sound: bool) -> str:
    """Caption, with the share of images that met the threshold before any attack."""
    already = ", ".join(
        f"{target} {percent(part['already'].mean())} %"
        for target, part in numbers.groupby("target", sort=False)
    )
    seed = numbers["seed"].iloc[0]
    if sound:
        return (
            "Share of the images that each attack takes across the threshold, with its "
            f"{INTERVAL}, over patients where known, otherwise over images (the exact binomial one "
            "if they are independent), and the number of images; mean steps of 1/255 to the first "
            "success. Images that met the threshold "
            f"before any attack are left out ({already}). Seed {seed}."
        )
    return (
        "Attack success rate and average distortion as the notebooks of MedIS compute them. Step 1 "
        "is the clean image; images that met the threshold without any attack count as successes "
        f"({already}). Seed {seed}."
    )
