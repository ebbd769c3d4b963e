"""The recipe of ``palpate evaluate MODEL``: a finished model on a folder of images and masks."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from palpate.pipeline.attacks.entries import given_by_name
from palpate.pipeline.recipe.config import EvaluateConfig, ModelConfig, RunConfig
from palpate.pipeline.recipe.demo import OwnData
from palpate.pipeline.recipe.titles import titled
from palpate.pipeline.run.run import config_of
from palpate.user_code import is_code


def finished_model_config(
    model: str,
    own: OwnData,
    *,
    options: Mapping[str, Any],
    changes: Mapping[str, Any],
    data: Mapping[str, Any],
    device: str = "auto",
    seed: int = 0,
    out: Path | None = None,
) -> RunConfig:
    """Configure a run that attacks a finished model, without training it.

    Args:
        model: Name, checkpoint, file or code (``file.py:function``) of the model; or the folder of
            a run, for the model that it trained.
        own: The images, their masks, and the prompt for all of them; empty masks are allowed.
        options: Options of the model family.
        changes: Settings of the evaluation that are not the default ones.
        data: Settings of the data that are not the default ones.
        device: Device of the model.
        seed: Seed of all random numbers.
        out: Run folder; by default ``runs/MODEL-IMAGES``.

    Raises:
        ValueError: If a setting is invalid, or the run has no trained model yet.
    """
    chosen = replace(model_config(model, options), device=device)
    pairs = own.settings(healthy=True, **data)
    evaluation = EvaluateConfig(**{"split": "all", **changes})
    name = f"{_short(model)}-{own.name}".replace("/", "-").replace(":", "-")
    return titled(
        RunConfig(name=name, out=out, seed=seed, data=pairs, model=chosen, evaluate=evaluation)
    )


def chosen_attacks(names: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
    """Attacks that are given by name only; those of the default battery keep their options."""
    return given_by_name(names, EvaluateConfig().attacks)


def is_run(name: str) -> bool:
    """Whether the name of a model is the folder of a run."""
    return (Path(name) / "config.yaml").is_file()


def model_config(name: str, options: Mapping[str, Any]) -> ModelConfig:
    """The settings of a model that is not trained.

    Args:
        name: As for :func:`finished_model_config`.
        options: Options of the model family.

    Raises:
        ValueError: If it is a run that has no trained model yet.
    """
    run = Path(name)
    if not is_run(name):
        return ModelConfig(name=name, adapter=None, options=options)
    trained = config_of(run).model
    if not trained.trains:
        return replace(trained, options={**trained.options, **options})
    checkpoint = trained.checkpoint or run / "checkpoint"
    if not (checkpoint / "palpate.json").is_file():
        raise ValueError(
            f"{run} has no trained model yet. Finish it first: palpate run --config "
            f"{run / 'config.yaml'}"
        )
    # A checkpoint does not choose code to run; the recipe of the run does.
    base = {"base": trained.name} if trained.name and is_code(trained.name) else {}
    return ModelConfig(name=str(checkpoint), adapter=None, options={**base, **options})


def _short(model: str) -> str:
    """Name of a model in the name of its run.

    >>> _short("nets/mine.py:make"), _short("monai/unet"), _short("runs/kvasir/checkpoint")
    ('mine', 'unet', 'kvasir')
    """
    path = Path(model.partition(".py:")[0] if ".py:" in model else model)
    return path.parent.name if path.name == "checkpoint" and path.parent.name else path.stem
