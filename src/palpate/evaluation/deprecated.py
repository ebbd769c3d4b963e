"""Deprecated functions that :func:`palpate.evaluation.evaluate` has replaced."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from palpate.attacks.medis.medis import MEDIS_LOSSES, RADIUS
from palpate.attacks.medis.success_rules import Criterion
from palpate.attacks.medis.targets import TARGETS, Bank
from palpate.attacks.text import TEXT_ATTACKS, Prompted
from palpate.data import Samples
from palpate.evaluation.batches import BATCH_SIZE, list_cases
from palpate.evaluation.evaluate import evaluate
from palpate.evaluation.medis.condition import Medis
from palpate.evaluation.medis.rows import UNTARGETED, medis_lines
from palpate.evaluation.text.conditions import AnyTextAttack
from palpate.types import Loss, Segmenter


def evaluate_texts(
    model: Prompted | Segmenter,
    data: Samples,
    attacks: Mapping[str, AnyTextAttack] = TEXT_ATTACKS,
    *,
    at_once: int = 32,
    **settings: Any,
) -> pd.DataFrame:
    """Deprecated: use :func:`palpate.evaluation.evaluate`, which also takes attacks on texts.

    Args:
        model: As in ``evaluate``.
        data: As in ``evaluate``.
        attacks: Attacks on texts, and joint attacks, by name.
        at_once: Argument ``texts_at_once`` of ``evaluate``.
        settings: Further arguments of ``evaluate``.
    """
    _warn("evaluate_texts(model, data, attacks)", "evaluate(model, data, attacks)")
    given: dict[str, Any] = {"batch_size": 1, "stage": "texts", **settings}
    return evaluate(model, data, attacks, texts_at_once=at_once, **given)


def evaluate_medis(
    model: Segmenter,
    data: Samples,
    *,
    targets: Sequence[str] = (UNTARGETED, *TARGETS),
    losses: Sequence[str | Loss] = MEDIS_LOSSES,
    bank: Bank | None = None,
    steps: int = 10,
    epsilon: float = RADIUS,
    criterion: Criterion = "miou",
    success: float | None = None,
    success_target: float | None = None,
    faithful: bool = False,
    copies: int | None = None,
    out: Path | str | None = None,
    batch_size: int = BATCH_SIZE,
    **settings: Any,
) -> pd.DataFrame:
    """Deprecated: ``medis_lines(evaluate(model, data, {"medis-tables": Medis(...)}))``.

    Args:
        model: As in :func:`palpate.evaluation.evaluate`.
        data: As in :func:`palpate.evaluation.evaluate`.
        targets: As in :class:`palpate.evaluation.Medis`.
        losses: As in ``Medis``.
        bank: As in ``Medis``.
        steps: As in ``Medis``.
        epsilon: As in ``Medis``.
        criterion: As in ``Medis``.
        success: As in ``Medis``.
        success_target: As in ``Medis``.
        faithful: As in ``Medis``.
        copies: As in ``Medis``.
        out: Folder of the rows; not one written by an older version.
        batch_size: As in ``evaluate``.
        settings: Further arguments of ``evaluate``.

    Returns:
        The lines, sorted by sample, target and loss, each in the order given.

    Raises:
        ValueError: If ``out`` holds lines of an older version, or as in ``evaluate``.
    """
    _warn(
        "evaluate_medis(model, data, ...)",
        'medis_lines(evaluate(model, data, {"medis-tables": Medis(...)}))',
    )
    if out is not None and (Path(out) / "medis.json").exists():
        raise ValueError(
            f"{out} holds lines of MedIS in the format of an older version, to which no rows can "
            "be added. Choose another folder; read_lines still reads that one."
        )
    medis = Medis(
        targets, losses, bank, steps, epsilon, criterion, success, success_target, faithful, copies
    )
    settings = {"stage": "MedIS"} | settings
    rows = evaluate(
        model, data, {"medis-tables": medis}, out=out, batch_size=batch_size, **settings
    )
    places = {(c.key, c.prompt_level, c.prompt): i for i, c in enumerate(list_cases(data))}
    lines = medis_lines(rows)
    samples = lines[["key", "prompt_level", "prompt"]].itertuples(index=False, name=None)
    order = lines.assign(
        sample=[places[sample] for sample in samples],
        aim=lines["target"].map(list(targets).index),
    ).sort_values(["sample", "aim"], kind="stable")
    return order.drop(columns=["sample", "aim"]).reset_index(drop=True)


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is deprecated; use {new}.", DeprecationWarning, stacklevel=3)
