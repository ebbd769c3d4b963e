"""Train a module and write the best epoch as a model folder."""

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
    """Train ``module``, and write ``model`` to a folder whenever an epoch is the best so far.

    Args:
        module: The module to train: ``model`` itself, or a module that shares its weights.
        model: The model to write.
        built: Model folder that ``model`` was loaded from; its configuration is copied.
        data: Training samples.
        validate: Returns the validation scores of ``module`` by name.
        out: Output folder; the training state is in ``out/work``.
        settings: Hyperparameters, which are stored with the weights.
        identity: Text that identifies data and base weights, see :func:`palpate.training.loop.fit`.
        stage: Name of this stage for ``progress``.
        progress: Called after every step.
        criterion: Loss function of outputs and masks; by default the one selected in ``settings``.
        judged_by: Name of the score that selects the best epoch.

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
