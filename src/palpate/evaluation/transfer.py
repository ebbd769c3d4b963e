"""Transfer of attacks between models: the surrogate by victim matrix."""

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
from palpate.evaluation.statistics.bootstrap import bootstrap_interval
from palpate.evaluation.statistics.curves import success_rate
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

    There is one evaluation per victim, in which each surrogate is an attack named ``from NAME``, so
    that rows are kept and resumed as always; a model that is added later costs only its own row and
    column. On the diagonal the surrogate is the victim: the white-box attack, to which the others
    are compared.

    Args:
        models: Surrogates and victims by name, all for the same prompts and on the same device.
        data: Samples that all of them are evaluated on.
        attack: Takes ``surrogate=``, a model; :func:`palpate.attacks.transfer` with any options.
        epsilons: Radii of the ball in units of pixel value, unless the attack has one bound.
        out: Folder with one folder of rows per victim. None keeps nothing but the table.
        seed: Of everything random, the bootstrap included.
        tau: An attack succeeds where it takes an image from above this DSC to it or below.
        settings: Handed on to :func:`evaluate`: ``batch_size``, ``limit``, ....

    Returns:
        One row per surrogate, victim and epsilon, in the order of ``models``: number of samples
        ``n``, mean ``dsc_clean``, mean ``dsc`` with ``low`` and ``high``, its 95 % interval over
        groups, mean ``drop``, the rate of ``success`` over the ``n_eligible`` samples whose clean
        prediction had not failed, and passes through the surrogate for each
        image, ``forwards`` and ``backwards``. ``pivot(index="surrogate",
        columns="victim", values="dsc")`` of one epsilon is the matrix.

    Raises:
        ValueError: If there is no model, or as :func:`evaluate` says.
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
    interval = bootstrap_interval(rows["dsc"], rows["group"], seed=seed)
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
