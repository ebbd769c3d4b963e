"""Train a model directory: fit a module and write the best epoch as a new directory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from palpate.models import VLSM, write_model
from palpate.progress import Progress
from palpate.training.batches import Epochs
from palpate.training.criterion import Criterion
from palpate.training.loop import fit
from palpate.training.settings import TrainingSettings


def fit_directory(
    module: nn.Module,
    model: VLSM,
    built: Path,
    data: Epochs,
    validate: Callable[[nn.Module], dict[str, float]],
    out: Path,
    settings: TrainingSettings,
    *,
    identity: str,
    stage: str,
    progress: Progress,
    criterion: Criterion | None = None,
    judged_by: str = "dsc",
) -> Path:
    """Fit ``module`` and write ``model`` as a directory whenever an epoch is the best so far.

    Args:
        module: What is trained: ``model`` itself, or a module that shares its weights.
        model: What is written.
        built: Directory that ``model`` was loaded from; its configuration is copied.
        data: Training samples.
        validate: Scores ``module``.
        out: Directory to write. ``out/work`` holds the state of the training.
        settings: Hyper-parameters, which are written beside the weights.
        identity: See :func:`palpate.training.loop.fit`, as for the remaining arguments.
        stage: Name of this stage for ``progress``.
        progress: Called after every step.
        criterion: Loss of outputs and masks.
        judged_by: Name of the score that chooses the best epoch.

    Returns:
        ``out``.
    """

    def keep_best(row: dict[str, Any]) -> None:
        write_model(model, built, out, {"settings": vars(settings), "reached": row})

    fit(
        module,
        data,
        validate,
        settings,
        out / "work",
        keep_best=keep_best,
        identity=identity,
        criterion=criterion,
        judged_by=judged_by,
        progress=progress,
        stage=stage,
    )
    return out
