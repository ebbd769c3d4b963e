"""Train a new text encoder and decoder on cached features of a frozen image encoder.

In a model from :func:`palpate.models.build_from_dinov2`, only the image encoder is pretrained. This
stage trains the other two parts. The result is an ordinary model folder, which serves as the
frozen-encoder baseline and as the base model for adapters.
"""

from pathlib import Path

from palpate.models import load_vlsm
from palpate.progress import Progress, silent
from palpate.training.batches import AnyData, identity
from palpate.training.features import FeatureModel, cache_features
from palpate.training.model_directory import fit_directory
from palpate.training.settings import TrainingSettings
from palpate.training.validation import scorer


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
    """Train the text encoder and decoder of a model whose image encoder is pretrained.

    An interrupted training resumes from its last finished epoch.

    Args:
        built: Model folder with an untrained text encoder and decoder.
        data: Training samples at the network's input size; several data sets may be pooled.
        validation: Samples used to select the best epoch.
        out: Output folder for the trained model; cached features and training state are in
            ``out/work``.
        settings: Hyperparameters.
        device: Device to train on.
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
        scorer(held_out, model.threshold_logit, settings),
        out,
        settings,
        identity=f"pretrain {model.base_hash} {identity(data, validation)}",
        stage="pretraining",
        progress=progress,
    )
