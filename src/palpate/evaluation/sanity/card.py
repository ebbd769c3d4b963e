"""The complete sanity card: every check, including those that were not run."""

from typing import Any

import pandas as pd

from palpate.data import Samples
from palpate.evaluation.sanity.check import NAMES, Check
from palpate.evaluation.sanity.from_model import card_from_model
from palpate.evaluation.sanity.from_rows import card_from_rows
from palpate.types import Segmenter

_NOT_RUN: dict[int, tuple[str, str]] = {
    7: (
        "No attack without gradients was run.",
        "Whether gradients are hidden from white-box attacks was not tested independently.",
    ),
    8: (
        "No attack was transferred from another model.",
        "Whether another model's gradients do more damage than the model's own is unknown.",
    ),
    13: (
        "No model was given to ask.",
        "A defence with random or non-differentiable stages needs an attack made for it.",
    ),
}
_MISSING = ("Neither rows nor a model were given for it.", "It was not run.")


def sanity_card(
    rows: pd.DataFrame | None = None,
    model: Segmenter | None = None,
    samples: Samples | None = None,
    **settings: Any,
) -> list[Check]:
    """Run all checks that the rows, the model, or both allow.

    Args:
        rows: Rows of an evaluation; see :func:`card_from_rows`.
        model: Model to examine; see :func:`card_from_model`.
        samples: Samples to examine the model on; required with ``model``.
        settings: Further arguments of :func:`card_from_model`.

    Returns:
        The checks in order of their numbers; those that were not run have the status
        ``"not_run"``.

    Raises:
        ValueError: If a model is given without samples.
    """
    if model is not None and samples is None:
        raise ValueError("Expected samples to examine the model on, got none. Pass samples=data.")
    checks = [] if rows is None else card_from_rows(rows)
    if model is not None and samples is not None:
        checks += card_from_model(model, samples, **settings)
    # List the checks that were not run, so that a short card cannot look like a complete one.
    seen = {check.number for check in checks}
    unseen = [
        Check(number, "not_run", *_NOT_RUN.get(number, _MISSING))
        for number in NAMES
        if number not in seen
    ]
    return sorted([*checks, *unseen], key=lambda check: check.number)
