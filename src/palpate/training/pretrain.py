"""Teach a fresh text tower and decoder to read a frozen image tower.

The model that :func:`palpate.models.build_from_dinov2` writes knows images but neither words nor
masks. This stage trains those two parts on cached features; the result is an ordinary model
directory, on which adapters are then trained. It is also the frozen-encoder baseline.
"""

from pathlib import Path
from typing import Any

from palpate.models import load_vlsm, write_model
from palpate.progress import Progress, silent
from palpate.training.batches import AnyData, identity
from palpate.training.features import FeatureModel, cache_features
from palpate.training.loop import fit
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
    """Train text tower and decoder of a built model; resumes where it stopped.

    Args:
        built: Model directory with an untrained text tower and decoder.
        data: Training samples at the network's input size; several data sets may be pooled.
        validation: Samples that choose the best epoch.
        out: Gets the trained model directory; ``out/work`` holds features and state meanwhile.
        settings: Hyper-parameters.
        device: Where to compute.
        progress: Told about every step.

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

    def keep_best(row: dict[str, Any]) -> None:
        write_model(model, built, out, {"settings": vars(settings), "reached": row})

    fit(
        FeatureModel(model),
        cached,
        lambda module: score(module, held_out, model.threshold_logit, settings.batch_size),
        settings,
        work,
        keep_best=keep_best,
        identity=f"pretrain {model.base_hash} {identity(data, validation)}",
        progress=progress,
        stage="pretraining",
    )
    return out
