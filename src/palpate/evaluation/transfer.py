"""Transfer of attacks between models: the matrix of surrogates and victims."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from palpate.attacks import transfer
from palpate.data import Samples
from palpate.evaluation.evaluate import evaluate
from palpate.evaluation.frozen import frozen
from palpate.evaluation.results.rows import CLEAN
from palpate.evaluation.statistics.curves import success_rate
from palpate.evaluation.statistics.intervals import mean_interval
from palpate.types import Attack, Segmenter

_BY = ["surrogate", "victim", "norm", "epsilon"]


def transfer_matrix(
    models: Mapping[str, Segmenter],
    data: Samples,
    attack: Attack = transfer,
    *,
    epsilons: Sequence[float] | None = None,
    out: Path | str | None = None,
    seed: int = 0,
    tau: float = 0.5,
    **settings: Any,
) -> pd.DataFrame:
    """Attack every model with perturbations computed on every model, itself included.

    There is one evaluation per victim, in which each surrogate is an attack named ``from NAME``.
    Rows are therefore stored and resumed as in any evaluation, and a model added later costs only
    its own row and column. On the diagonal surrogate and victim are the same model: this is the
    white-box attack that the others are compared with.

    Args:
        models: Surrogates and victims by name; all take the same prompts and are on one device.
        data: Samples on which all models are evaluated.
        attack: Attack with an argument ``surrogate``, such as :func:`palpate.attacks.transfer`.
        epsilons: Radii of the ball in units of pixel value, unless the attack has one bound.
        out: Folder with one subfolder of rows per victim. None: rows are not kept.
        seed: Seed of all random numbers, including those of the intervals.
        tau: An attack succeeds if the DSC falls from above ``tau`` to ``tau`` or below.
        settings: Passed to :func:`evaluate`: ``batch_size``, ``limit``, ....

    Returns:
        One row per surrogate, victim, norm and epsilon, in the order of ``models``: number of
        samples ``n``; mean ``dsc_clean``; mean ``dsc`` with its 95 % interval over groups, ``low``
        to ``high``; mean ``drop``; the rate of ``success`` over the ``n_eligible`` samples with
        ``dsc_clean`` above ``tau``; ``forwards`` and ``backwards``, the passes through the
        surrogate per image. For one epsilon, ``pivot(index="surrogate", columns="victim",
        values="dsc")`` gives the matrix.

    Raises:
        ValueError: If there is no model, or as in :func:`evaluate`.
    """
    if not models:
        raise ValueError("Expected at least one model, got none.")
    tables = []
    with ExitStack() as stack:
        for model in models.values():
            stack.enter_context(frozen(model))
        attacks = {_via(n): partial(attack, surrogate=m) for n, m in models.items()}
        for victim, model in models.items():
            rows = evaluate(
                model,
                data,
                attacks,
                epsilons=epsilons,
                out=None if out is None else Path(out) / victim,
                seed=seed,
                tau=tau,
                **settings,
            )
            tables.append(rows[rows["attack"] != CLEAN].assign(victim=victim))
    rows = pd.concat(tables, ignore_index=True)
    names = {_via(name): name for name in models}
    rows = rows.assign(surrogate=rows["attack"].map(names))
    table = pd.DataFrame([_cell(cell, seed, tau) for _, cell in rows.groupby(_BY, sort=False)])
    order = {name: place for place, name in enumerate(models)}
    return table.sort_values(
        _BY, key=lambda column: column.map(order) if column.name in _BY[:2] else column
    ).reset_index(drop=True)


def _via(surrogate: str) -> str:
    return f"from {surrogate}"


def _cell(rows: pd.DataFrame, seed: int, tau: float) -> dict[str, Any]:
    interval = mean_interval(rows["dsc"], rows["group"], seed=seed)
    return {
        **{name: rows[name].iloc[0] for name in _BY},
        "n": len(rows),
        "dsc_clean": rows["dsc_clean"].mean(),
        "dsc": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "drop": (rows["dsc_clean"] - rows["dsc"]).mean(),
        "n_eligible": int((rows["dsc_clean"] > tau).sum()),
        "success": success_rate(rows, tau),
        "forwards": rows["forwards"].mean(),
        "backwards": rows["backwards"].mean(),
    }
