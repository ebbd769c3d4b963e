"""Prompt sensitivity: best minus worst DSC over texts with the same meaning."""

import pandas as pd

from palpate.evaluation.results.rows import Identity

WORST, BEST = "text-levels", "text-levels-best"

_NOT_OF_A_SAMPLE = ("prompt", "attack", "norm", "epsilon")
_SAMPLE = [name for name in Identity._fields if name not in _NOT_OF_A_SAMPLE]


def prompt_sensitivity(rows: pd.DataFrame, *, worst: str = WORST, best: str = BEST) -> pd.DataFrame:
    """Best and worst DSC of each sample over texts with the same meaning, and their difference.

    Args:
        rows: Rows of :func:`palpate.evaluation.evaluate` that include both attacks.
        worst: Attack that picks the worst of a set of texts.
        best: Attack that picks the best of the same set.

    Returns:
        One line per sample, with the columns that identify it, ``structure``, ``group``,
        ``dsc_clean``, ``best``, ``worst`` and ``sensitivity``.

    Raises:
        ValueError: If a sample has only one of the two rows, or there are no such rows.
    """
    keep = [*_SAMPLE, "structure", "group", "dsc_clean", "dsc"]
    low = rows.loc[rows["attack"] == worst, keep].rename(columns={"dsc": "worst"})
    high = rows.loc[rows["attack"] == best, [*_SAMPLE, "dsc"]].rename(columns={"dsc": "best"})
    both = low.merge(high, on=_SAMPLE, validate="one_to_one")
    if not len(both) or len(both) < max(len(low), len(high)):
        raise ValueError(
            f"Expected a row of {worst!r} and one of {best!r} for each sample, got {len(low)} and "
            f"{len(high)} that make {len(both)} pairs. Evaluate both attacks."
        )
    return both.assign(sensitivity=both["best"] - both["worst"])
