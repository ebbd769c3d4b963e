"""Predicts images with a finished model, or with the model of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from palpate.evaluation import predict
from palpate.pipeline.recipe.config import RunConfig
from palpate.pipeline.run.finished_model import is_run, model_config
from palpate.pipeline.run.run import config_of
from palpate.pipeline.stages import preparation as stages
from palpate.progress import Progress, silent


def predict_images(
    model: str,
    images: Path,
    out: Path,
    *,
    prompts: Sequence[str] = (),
    size: int | None = None,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    trust_code: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> list[Path]:
    """Write the masks that a model predicts for a folder of images.

    Args:
        model: Name, checkpoint, file or code of the model; or the folder of a run, for the model
            that it trained.
        images: Folder of the images.
        out: Output folder.
        prompts: Texts that say what to segment; by default the prompt of the run, if it has one for
            all samples.
        size: Side of the square that images are resized to, in pixels; by default that of the run,
            or else the size of each image.
        options: Options of the model family.
        device: Device of the model.
        trust_code: Let files of the model run code of their own.
        progress: Called after each batch.
        settings: Further arguments of :func:`palpate.predict`.

    Returns:
        The mask files.

    Raises:
        ValueError, FileNotFoundError, FileExistsError: As for :func:`palpate.predict`, or if the
            model cannot be loaded.
    """
    chosen = model_config(model, options or {})
    chosen = replace(chosen, device=device, trust_code=trust_code or chosen.trust_code)
    config = RunConfig(model=chosen)
    if is_run(model):
        config = replace(config_of(Path(model)), model=chosen)
        size = size or config.data.size
        text = config.data.override_prompt
        prompts = prompts or (() if text is None else (text,))
    loaded = stages.untrained(config, stages.base_model(config, progress))
    stages.warn_of_random_weights(loaded, config.model)
    return predict(loaded, images, out, prompts=prompts, size=size, progress=progress, **settings)
