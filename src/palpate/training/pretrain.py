"""Train a new text tower and decoder on the features of a frozen image tower.

In a model from :func:`palpate.models.build_from_dinov2` only the image tower is pretrained. This
stage trains the other two parts on cached features. The result is an ordinary model directory, on
which adapters can be trained; by itself it is the frozen-encoder baseline.
"""

from pathlib import Path

from palpate.models import load_vlsm
from palpate.progress import Progress, silent
from palpate.training.batches import AnyData, identity
from palpate.training.features import FeatureModel, cache_features
from palpate.training.model_directory import fit_directory
from palpate.training.settings import TrainingSettings
from palpate.training.validation import score


def pretrain(
    built: Path,
    data: AnyData,
    validation: AnyData,
    out: Path,
    settings: TrainingSettings,
    *,
    device: str = "cpu",
    progress: Progress = silent,
) -> Path:
    """Train text tower and decoder of a built model; resumes after interruption.

    Args:
        built: Model directory with an untrained text tower and decoder.
        data: Training samples at the network's input size; several data sets may be pooled.
        validation: Samples by whose score the best epoch is chosen.
        out: Directory to write the trained model to; ``out/work`` holds features and state.
        settings: Hyper-parameters.
        device: Device to compute on.
        progress: Called after every step.

    Returns:
        ``out``.
    """
    model = load_vlsm(built, device)
    work = out / "work"
    cached, held_out = (
        cache_features(
            model,
            part,
            work / name,
            precision=settings.precision,
            workers=settings.workers,
            progress=progress,
        )
        for name, part in (("train", data), ("val", validation))
    )
    for part in (model.net.clip.text_model, model.net.clip.text_projection, model.net.decoder):
        part.requires_grad_(True)
    return fit_directory(
        FeatureModel(model),
        model,
        built,
        cached,
        lambda module: score(module, held_out, model.threshold_logit, settings.batch_size),
        out,
        settings,
        identity=f"pretrain {model.base_hash} {identity(data, validation)}",
        stage="pretraining",
        progress=progress,
    )
