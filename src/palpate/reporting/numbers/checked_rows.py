"""Checks and sorts the rows of a report, and selects parts of them."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd

from palpate.evaluation.metrics import METRICS
from palpate.reporting.labels import attack_rank, budget_of, budget_rank, norm_label

IMAGE: Final = ["dataset", "key", "structure", "prompt_level", "prompt"]
CONDITION: Final = ["attack", "norm", "epsilon"]
SAMPLE: Final = ["dataset", "structure", "key"]  # regardless of the prompt
BY_LEVEL: Final = [*SAMPLE, "prompt_level"]  # regardless of the wording of the prompt
RUN, OF = "run", "run_dataset"  # extra columns for several runs: run, and original data set name
REQUIRED: Final = (
    *IMAGE, "split", "image_name", "group", *CONDITION, "seed", "protocol", "dsc",
    "dsc_clean", "mask_area", "success", "failure", "forwards", "backwards", "seconds",
)  # fmt: skip
_SCORES = ("dsc", "iou", "dsc_clean")


def checked(rows: pd.DataFrame) -> pd.DataFrame:
    """Check and sort rows, and add a column ``facet`` that names data set and structure.

    Args:
        rows: One row per image, structure, prompt, attack and epsilon, as stored by an evaluation.

    Returns:
        A copy, sorted by data set, structure, attack, norm, epsilon and key. The norm of clean
        rows is empty, whatever was stored.

    Raises:
        ValueError: If there are no rows or no clean ones, columns are missing, a score is not a
            number in [0, 1], a condition occurs twice for one image, or the rows come from runs
            that must not be averaged together (protocol; seed or split of one data set).
    """
    if rows.empty:
        raise ValueError("Expected rows to report, got none; run the evaluation first.")
    missing = [name for name in REQUIRED if name not in rows.columns]
    if missing:
        raise ValueError(
            f"Expected rows with the columns of an evaluation, {', '.join(missing)} missing; "
            f"got {', '.join(map(str, rows.columns))}."
        )
    rows = rows.copy()
    # pandas copies these at every step, and only the user's metrics are read from them.
    declared = rows.attrs.pop("metrics", {})
    if own := {name: told for name, told in declared.items() if name not in METRICS}:
        rows.attrs["metrics"] = own
    rows["norm"] = rows["norm"].astype(object).where(rows["attack"] != "clean", "").fillna("")
    rows["epsilon"] = rows["epsilon"].astype(float)
    _refuse_mixtures(rows)
    _refuse_broken_scores(rows)
    _refuse_repetitions(rows)
    rows["facet"] = _facet_names(rows)
    _refuse_missing_baseline(rows)
    return _compact(in_order(rows))


def _compact(rows: pd.DataFrame) -> pd.DataFrame:
    """Store columns of the same type together, and strings as Python objects.

    Each table selects rows by condition, and pandas copies every column of Arrow strings
    separately: for the few hundred rows of a run, that is a third of the time of a report.
    """
    strings = [name for name, kind in rows.dtypes.items() if isinstance(kind, pd.StringDtype)]
    rows = rows.astype(dict.fromkeys(strings, object)).copy()
    rows.columns = rows.columns.astype(object)
    return rows


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Sort rows by data set, structure, attack, norm, epsilon and key."""
    ranked = rows.assign(
        _rank=rows["attack"].map(attack_rank),
        _family=rows["attack"].map(lambda attack: budget_of(str(attack))[0]),
        _budget=rows["attack"].map(budget_rank),
    )
    ranks = ["_rank", "_family", "_budget"]
    order = ["dataset", "structure", *ranks, "attack", "norm", "epsilon", "key", "prompt_level"]
    return ranked.sort_values(order, kind="stable").drop(columns=ranks).reset_index(drop=True)


def facets(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each data set and structure with its rows, as all tables and figures split them."""
    for name, part in rows.groupby("facet", sort=False):
        yield str(name), part


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Convert each line of a table to a dictionary by column name."""
    return [
        dict(zip(rows.columns, line, strict=True))
        for line in rows.itertuples(index=False, name=None)
    ]


def attacked(rows: pd.DataFrame) -> pd.DataFrame:
    """Select all rows except the clean ones; the noise control is included."""
    return rows[rows["attack"] != "clean"]


def is_minimal(rows: pd.DataFrame) -> pd.Series:
    """Boolean mask of rows whose attack searches for the smallest perturbation.

    All False for older tables, which lack the column.
    """
    if "minimal" not in rows.columns:
        return pd.Series(False, index=rows.index)
    return rows["minimal"].eq(True)  # missing values of older rows count as False


def of_fixed_radius(rows: pd.DataFrame) -> pd.DataFrame:
    """Select the rows whose DSC is comparable: clean rows, and attacks at a fixed radius.

    Attacks for the smallest perturbation stop as soon as they succeed, so their DSC only reflects
    the threshold of success.
    """
    return rows[~is_minimal(rows)].reset_index(drop=True)


def by_sample(rows: pd.DataFrame) -> pd.DataFrame:
    """Remove the prompt level from the keys, so that a key names a sample regardless of its prompt.

    With ``prompt: all``, keys end in the prompt level (``image-1#p2``). This keeps the rows of one
    sample apart, but it would also keep samples of different runs from being paired.
    """
    pairs = zip(rows["key"].astype(str), rows["prompt_level"].astype(str), strict=True)
    return rows.assign(key=[key.removesuffix(f"#{level}") for key, level in pairs])


def of_several_prompts(rows: pd.DataFrame) -> bool:
    """Whether samples have several prompts per condition, as with ``prompt: all``."""
    return bool(rows.duplicated([*SAMPLE, *CONDITION]).any())


def conditions(rows: pd.DataFrame) -> Iterator[tuple[tuple[str, str, float], pd.DataFrame]]:
    """Yield each (attack, norm, epsilon) with its rows, in the order of the rows."""
    for (attack, norm, epsilon), part in rows.groupby(CONDITION, sort=False):
        yield (str(attack), str(norm), float(str(epsilon))), part


def listed(values: pd.Series) -> str:
    """Format the distinct values in sorted order.

    >>> listed(pd.Series([1, 0, 1]))
    '0, 1'
    """
    return ", ".join(map(str, sorted(values.unique())))


def paired(rows: pd.DataFrame, control: pd.DataFrame) -> pd.DataFrame:
    """Add the control's DSC for the same image and prompt as the column ``dsc_control``."""
    values = control[[*IMAGE, "dsc"]].rename(columns={"dsc": "dsc_control"})
    return rows.merge(values, on=IMAGE, how="inner", validate="one_to_one")


def gaps(rows: pd.DataFrame) -> list[str]:
    """Describe conditions that do not cover all images of their facet, as after an aborted run.

    Readers must know of them, because means over different images are not comparable.
    """
    found = []
    for name, part in facets(rows):
        total = len(part[IMAGE].drop_duplicates())
        for (attack, norm, epsilon), some in conditions(part):
            if len(some) < total:
                label = norm_label(attack, norm, epsilon)
                found.append(f"{name}, {label}: {len(some)} of {total} images")
    return found


def _refuse_mixtures(rows: pd.DataFrame) -> None:
    protocols = sorted(map(str, rows["protocol"].unique()))
    if len(protocols) > 1:
        raise ValueError(
            f"Expected rows of one protocol, got {', '.join(protocols)}; numbers made under "
            f"different conditions are not averaged together. Report each run by itself."
        )
    for dataset, part in rows.groupby("dataset"):
        if part["seed"].nunique() > 1:
            raise ValueError(
                f"Expected rows of one seed, got {listed(part['seed'])} of {dataset}; numbers made "
                "under different conditions are not averaged together. Report each run by itself."
            )
        if part["split"].nunique() > 1:
            raise ValueError(
                f"Expected one split of {dataset}, got {listed(part['split'])}; "
                f"report each split by itself."
            )


def _refuse_broken_scores(rows: pd.DataFrame) -> None:
    for column in (name for name in _SCORES if name in rows.columns):
        values = rows[column].to_numpy(dtype=float)
        broken = ~(np.isfinite(values) & (values >= 0) & (values <= 1))
        if broken.any():
            first = rows[broken].iloc[0]
            raise ValueError(
                f"Expected {column} in [0, 1] in every row, got {first[column]} for "
                f"{first['attack']} on {first['key']} and {broken.sum() - 1} more; leaving rows "
                f"out would move the mean, so evaluate them again or drop them yourself."
            )


def _refuse_repetitions(rows: pd.DataFrame) -> None:
    repeated = rows.duplicated([*IMAGE, *CONDITION])
    if repeated.any():
        first = rows[repeated].iloc[0]
        raise ValueError(
            f"Expected one row per image and condition, got {first['attack']} at epsilon "
            f"{first['epsilon']:.4g} on {first['key']} more than once ({repeated.sum()} repeated "
            f"rows); were two runs put together?"
        )


def _refuse_missing_baseline(rows: pd.DataFrame) -> None:
    without = set(rows["facet"]) - set(rows.loc[rows["attack"] == "clean", "facet"])
    if without:
        raise ValueError(
            f"Expected clean rows of {', '.join(sorted(without))}, got attacked ones only; there "
            f"is nothing to compare them with. Evaluate without attack as well."
        )


def _facet_names(rows: pd.DataFrame) -> pd.Series:
    several = rows.groupby("dataset")["structure"].transform("nunique") > 1
    both = rows["dataset"].astype(str) + " · " + rows["structure"].astype(str)
    return both.where(several, rows["dataset"].astype(str))
