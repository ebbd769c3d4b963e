"""Train a complete model (image encoder, text encoder and decoder)."""

from pathlib import Path

from palpate.models import load_vlsm
from palpate.progress import Progress, silent
from palpate.training.batches import AnyData, identity
from palpate.training.model_directory import fit_directory
from palpate.training.settings import TrainingSettings
from palpate.training.train import TrainingImages
from palpate.training.validation import scorer


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
    """Train all weights of a model; an interrupted training resumes from its last finished epoch.

    Args:
        built: Model folder to start from.
        data: Training samples of one size; several data sets may be pooled.
        validation: Samples used to select the best epoch.
        out: Output folder for the trained model; the training state is in ``out/work``.
        settings: Hyperparameters.
        device: Device to train on.
        progress: Called after every step.

    Returns:
        ``out``.
    """
    model = load_vlsm(built, device)
    model.requires_grad_(True)
    return fit_directory(
        model,
        model,
        built,
        TrainingImages(data),
        scorer(TrainingImages(validation), model.threshold_logit, settings),
        out,
        settings,
        identity=f"whole {model.base_hash} {identity(data, validation)}",
        stage="training the whole model",
        progress=progress,
    )
