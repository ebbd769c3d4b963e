"""Success rates of MedIS: of each loss, and of the fusion of all losses."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from palpate.evaluation.medis.rows import UNTARGETED
from palpate.evaluation.statistics.intervals import SHARE, Range, mean_interval

FUSED = "fusion"  # name in place of a loss, for the success rate of the fusion of all losses

_IMAGE = ["dataset", "split", "key", "prompt_level", "prompt", "target", "seed", "protocol"]


def fuse_lines(lines: pd.DataFrame) -> pd.DataFrame:
    """Parallel fusion: select the line of the best loss for each image and target.

    The best loss is the one that succeeded in the fewest steps; ties go to the better score
    (higher for targeted, lower for untargeted attacks), then to the first loss. If no loss
    succeeded, it is the one with the best score; ties go to the fewest steps. Losses that skipped
    the image come last.

    Args:
        lines: As returned by :func:`palpate.evaluation.medis_lines`.

    Returns:
        Lines with the same columns; passes and seconds are sums over all losses.
    """
    sign = np.where(lines["target"] == UNTARGETED, 1.0, -1.0)
    shortfall = sign * lines["score"]
    order = pd.DataFrame(
        {
            "skipped": lines["skipped"],
            "failed": ~lines["success"],
            "first": lines["steps"].where(lines["success"], shortfall),
            "second": shortfall.where(lines["success"], lines["steps"]),
        }
    ).sort_values(["skipped", "failed", "first", "second"], kind="stable")
    fused = lines.loc[order.index].drop_duplicates(_IMAGE, keep="first").sort_index()
    costs = lines.groupby(_IMAGE, sort=False)[["forwards", "backwards", "seconds"]].sum()
    for name in costs:
        keys = pd.MultiIndex.from_frame(fused[_IMAGE])
        fused[name] = costs[name].reindex(keys).to_numpy()
    return fused.reset_index(drop=True)


def success_rates(lines: pd.DataFrame) -> pd.DataFrame:
    """Attack success rate and mean distortion of each loss and of their fusion.

    Images that were skipped, or that met the criterion before the attack, are not counted. The
    fusion succeeds on an image if any loss does, so that no loss has a higher rate.

    Under the protocol of the notebooks, images that met the criterion before the attack are
    counted as well, and the number of images of the fusion is that of the images that the last
    loss did not skip.

    Args:
        lines: Lines of one protocol and seed.

    Returns:
        One row per data set, target and loss, the fusion first (``loss`` is ``"fusion"``):
        ``success`` in [0, 1] with its 95 % interval over groups, ``success_low`` to
        ``success_high``; ``steps``, mean over successes, with its interval; ``linf``, mean
        measured distance over successes; ``n`` counted images in ``groups`` groups; number of
        ``successes``; ``already``, the share of attacked images that met the criterion before the
        attack; number of ``skipped`` images; ``flat``, the share of failures with a zero gradient
        at some step.

    Raises:
        ValueError: If there are no lines, or lines of several protocols or seeds.
    """
    if lines.empty or len(lines[["protocol", "seed"]].drop_duplicates()) != 1:
        mixed = lines[["protocol", "seed"]].drop_duplicates().to_numpy().tolist()
        raise ValueError(f"Expected lines of one protocol and one seed, got {mixed}.")
    return pd.DataFrame(list(_rates(lines)))


def _rates(lines: pd.DataFrame) -> Iterator[dict[str, object]]:
    for (dataset, target), part in lines.groupby(["dataset", "target"], sort=False):
        where: dict[str, object] = {"dataset": dataset, "target": target}
        yield where | {"loss": FUSED} | _rate(fuse_lines(part), _fused_count(part))
        for loss, some in part.groupby("loss", sort=False):
            yield where | {"loss": loss} | _rate(some, None)


def _fused_count(part: pd.DataFrame) -> int | None:
    """Number of images not skipped by the last loss, under the protocol of the notebooks only."""
    if part["protocol"].iloc[0] != "notebooks":
        return None
    last = part[part["loss"] == part["loss"].iloc[-1]]
    return int((~last["skipped"]).sum())


def _rate(lines: pd.DataFrame, published: int | None) -> dict[str, object]:
    tried = lines[~lines["skipped"]]
    sound = lines["protocol"].iloc[0] != "notebooks"
    counted = tried[~tried["already"]] if sound else tried
    won = counted[counted["success"]]
    n = len(counted) if published is None else published
    groups = counted["group"].astype(str).to_numpy()
    failed = counted[~counted["success"]]
    return {
        "success": len(won) / n if n else np.nan,
        **_ends("success", counted["success"].to_numpy(dtype=float), groups),
        "steps": won["steps"].mean() if len(won) else np.nan,
        **_ends(
            "steps",
            won["steps"].to_numpy(dtype=float),
            won["group"].astype(str).to_numpy(),
            (0.0, np.inf),
        ),
        "linf": won["linf"].mean() if len(won) else np.nan,
        "n": n,
        "groups": int(counted["group"].nunique()),
        "successes": len(won),
        "already": tried["already"].mean() if len(tried) else np.nan,
        "skipped": int(lines["skipped"].sum()),
        "flat": failed["flat"].mean() if len(failed) else np.nan,
        "protocol": lines["protocol"].iloc[0],
        "seed": int(lines["seed"].iloc[0]),
    }


def _ends(
    name: str, values: np.ndarray, groups: Sequence[str] | np.ndarray, limits: Range = SHARE
) -> dict[str, float]:
    if not len(values):
        return {f"{name}_low": np.nan, f"{name}_high": np.nan}
    interval = mean_interval(values, groups, limits=limits)
    return {f"{name}_low": interval.low, f"{name}_high": interval.high}
