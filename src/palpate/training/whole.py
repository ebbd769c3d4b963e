"""Train a whole model, image tower, text tower and decoder, on masks and prompts."""

from pathlib import Path
from typing import Any

from palpate.models import load_vlsm, write_model
from palpate.progress import Progress, silent
from palpate.training.batches import AnyData, identity
from palpate.training.loop import fit
from palpate.training.settings import TrainingSettings
from palpate.training.train import TrainingImages
from palpate.training.validation import score


def train_whole(
    built: Path,
    data: AnyData,
    validation: AnyData,
    out: Path,
    settings: TrainingSettings,
    *,
    device: str = "cpu",
    progress: Progress = silent,
) -> Path:
    """Train every weight of a model; resumes where it stopped.

    Args:
        built: Model directory to start from.
        data: Training samples of one size; several data sets may be pooled.
        validation: Samples that choose the best epoch.
        out: Gets the trained model directory; ``out/work`` holds the state meanwhile.
        settings: Hyper-parameters.
        device: Where to compute.
        progress: Told about every step.

    Returns:
        ``out``.
    """
    model = load_vlsm(built, device)
    model.requires_grad_(True)

    def keep_best(row: dict[str, Any]) -> None:
        write_model(model, built, out, {"settings": vars(settings), "reached": row})

    held_out = TrainingImages(validation)
    fit(
        model,
        TrainingImages(data),
        lambda module: score(
            module,
            held_out,
            model.threshold_logit,
            settings.batch_size,
            settings.precision,
            settings.workers,
        ),
        settings,
        out / "work",
        keep_best=keep_best,
        identity=f"whole {model.base_hash} {identity(data, validation)}",
        progress=progress,
        stage="training the whole model",
    )
    return out
