"""Paired tests of each attack against the clean images and against random noise."""

from collections.abc import Iterator

import pandas as pd

from palpate.evaluation.statistics.intervals import paired_difference
from palpate.evaluation.statistics.significance import holm, paired_test
from palpate.reporting.labels import CONTROL
from palpate.reporting.numbers.checked_rows import attacked, conditions, facets, paired


def comparisons(rows: pd.DataFrame) -> pd.DataFrame:
    """Compare each attack with the clean images and with the noise control of the same radius.

    Returns:
        One line per facet, condition and comparison: ``against`` is ``clean`` or ``noise``; the
        mean paired ``difference`` of DSC (negative: DSC fell) with its interval; ``p`` of the
        paired test, ``p_holm`` adjusted over all lines together; ``effect`` from -1 (every image
        fell) to 1 (every image rose); ``n`` pairs in ``groups`` groups.
    """
    lines = pd.DataFrame(list(_lines(rows)))
    if not lines.empty:
        lines["p_holm"] = holm(lines["p"])
    return lines


def _lines(rows: pd.DataFrame) -> Iterator[dict[str, object]]:
    for name, part in facets(rows):
        first = part.iloc[0]
        where = {"facet": name, "dataset": first["dataset"], "structure": first["structure"]}
        noise = {c[1:]: some for c, some in conditions(part[part["attack"] == CONTROL])}
        for (attack, norm, epsilon), some in conditions(attacked(part)):
            head: dict[str, object] = where | {"attack": attack, "norm": norm, "epsilon": epsilon}
            yield head | _compare(some, "clean", some["dsc_clean"])
            control = noise.get((norm, epsilon))
            if attack != CONTROL and control is not None:
                both = paired(some, control)
                if len(both):
                    yield head | _compare(both, CONTROL, both["dsc_control"])


def _compare(rows: pd.DataFrame, against: str, before: pd.Series) -> dict[str, object]:
    return {"against": against, **paired_line(before, rows["dsc"], rows["group"])}


def paired_line(before: pd.Series, after: pd.Series, patients: pd.Series) -> dict[str, object]:
    """Test the paired difference ``after - before``, with patients as the units.

    Returns:
        ``n`` pairs in ``groups`` groups, the mean ``difference`` with its interval (``_low``,
        ``_high``), ``p`` of the paired test and its ``effect``.
    """
    groups = patients.astype(str).to_numpy()
    test = paired_test(before, after, groups)
    interval = paired_difference(before, after, groups)
    return {
        "n": test.n,
        "groups": test.groups,
        "difference": interval.mean,
        "difference_low": interval.low,
        "difference_high": interval.high,
        "p": test.p_value,
        "effect": test.effect,
    }
