"""A run that the command line describes by itself, where no recipe does."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from palpate.cli.parsing import UsageError
from palpate.pipeline.config import BuildConfig, ModelConfig, RunConfig

# What only a model that is to be trained has a use for.
_OF_TRAINING = ("--train.", "--model.adapter", "--model.learns", "--model.init", "--model.width")
_BUILD = "--model.build."
_WHOLE = "palpate/tiny", "phantom-endoscopy"
_RECIPES = Path("recipes")


def defaults(command: str, words: Sequence[str]) -> RunConfig:
    """What holds where the command line says nothing else.

    A model and data must be named: a default for either would be hours of work that nobody asked
    for. ``run`` presses the model as it is unless something is said about its training; ``train``
    trains.

    Raises:
        UsageError: If model or data are not named; says how, and which recipes there are.
    """
    options = [word.partition("=")[0].replace("_", "-") for word in words if word.startswith("-")]
    builds = any(option.startswith(_BUILD) for option in options)
    if {"-h", "--help"} & set(options):
        return RunConfig(model=ModelConfig(build=BuildConfig()))
    if "--data.name" not in options or not (builds or "--model.name" in options):
        raise UsageError(_what_to_say(command))
    if builds:
        return RunConfig(model=ModelConfig(build=BuildConfig()))
    trains = command == "train" or any(option.startswith(_OF_TRAINING) for option in options)
    # A name that nothing has, in its place until the command line is read.
    model = ModelConfig(name="-", adapter=ModelConfig.adapter if trains else None)
    return RunConfig(model=model)


def named(config: RunConfig) -> RunConfig:
    """The run called after its model and data, if it has no name: others must not meet in it."""
    if config.out is not None or config.name != RunConfig.name:
        return config
    model = Path(config.model.name or "built").stem
    return replace(config, name=f"{model}-{config.data.name}".replace("/", "-").replace(":", "-"))


def recipes_here() -> str:
    """The recipes in the folder ``recipes``, for an error."""
    found = ", ".join(path.name for path in sorted(_RECIPES.glob("*.yaml")))
    return f"{_RECIPES}/ has {found}" if found else f"those of palpate are in its {_RECIPES}/"


def _what_to_say(command: str) -> str:
    model, data = _WHOLE
    return (
        f"Expected a recipe (palpate {command} --config {_RECIPES}/kvasir-quick.yaml; "
        f"{recipes_here()}) or a model and data (palpate {command} --model.name {model} "
        f"--data.name {data})."
    )
