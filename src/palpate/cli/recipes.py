"""Commands whose options are the settings of a recipe: ``run``, ``train`` and ``pretrain``."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import tyro

from palpate.cli.commands import UsageError
from palpate.cli.json_output import check_target, take_json
from palpate.cli.parsing import NULL, parse
from palpate.cli.progress_bars import show_progress
from palpate.cli.short_help import HELP_ALL, show_short_help, wants_short_help
from palpate.pipeline.attacks.entries import given_by_name
from palpate.pipeline.recipe.config import BuildConfig, ModelConfig, RunConfig
from palpate.pipeline.recipe.reading import read_recipe
from palpate.pipeline.recipe.titles import title_of, titled

_RECIPES = Path("recipes")
_DOES = {
    "run": "Train a model on a data set, attack it, score it and report.",
    "train": "Train a model on a data set, and save a checkpoint; `palpate evaluate` attacks it.",
    "pretrain": "Distil a small CLIPSeg from a DINOv2 backbone, and train it on masks.",
}
_OVERRIDE = "--config RECIPE reads the settings from a YAML file; options given here override them."
_CRITERIA = "--criteria FILE reads acceptance criteria from a YAML file."
_NO_RECIPE = (
    "Without a recipe, --model.name and --data.name are required; `run` then attacks the model as "
    "it is, unless an option is about training."
)
_BUILD = "--model.build."
# Options that only make sense if the model is trained.
_OF_TRAINING = ("--train.", "--model.adapter", "--model.learns", "--model.init", "--model.width")


def run(words: list[str]) -> None:
    """Run a recipe, or every run of one with ``each``, and print the path of the page."""
    from palpate.cli.tables.scores import print_scores
    from palpate.pipeline.several.sweep import in_folders, run_sweep

    if wants_short_help(words):
        show_short_help("run", f"{_DOES['run']} {_NO_RECIPE}")
        sys.exit(0)
    json, words = take_json(words)
    configs, recipe = configs_of("run", words), _take_config(words)[0]
    if len(configs) == 1:
        run_and_show(next(iter(configs.values())), json, recipe)
        return
    check_target(json)
    folder = next(iter(configs.values())).folder
    labels = {config.folder: f"{label}: " for label, config in in_folders(configs).items()}
    with show_progress() as progress:
        run_sweep(
            in_folders(configs),
            folder,
            progress,
            recipe,
            checked=lambda config: _announce(config, labels[config.folder]),
        )
    print_scores(folder, json)


def train(words: list[str]) -> None:
    """Train as a recipe says, and print the path of each checkpoint."""
    from palpate.pipeline.run.run import train_only
    from palpate.pipeline.several.sweep import in_folders

    if wants_short_help(words):
        show_short_help("train", f"{_DOES['train']} {_NO_RECIPE}")
        sys.exit(0)
    recipe = _take_config(words)[0]
    with show_progress() as progress:
        for config in in_folders(configs_of("train", words)).values():
            print(train_only(config, progress, recipe, checked=_announce_training))


def pretrain(words: list[str]) -> None:
    """Distil a small model as a recipe says, and print its directory."""
    from palpate.pipeline.run.pretrain import PretrainConfig, pretrain

    recipe, rest = _take_config(words)
    if recipe is None and not rest:
        raise UsageError(
            "Expected a recipe (palpate pretrain --config recipes/tiny.yaml) or options; "
            f"{_recipes_here()}."
        )
    default = read_recipe(recipe, PretrainConfig) if recipe else PretrainConfig()
    about = f"{_DOES['pretrain']}\n\n{_OVERRIDE}"
    config = parse(
        PretrainConfig, rest, default=default, prog="palpate pretrain", description=about
    )
    with show_progress() as progress:
        model = pretrain(config, progress)
    print(model)


def run_and_show(config: RunConfig, json: Path | None = None, recipe: Path | None = None) -> None:
    """Run a recipe, print its scores and verdict, and the path of its page.

    Args:
        config: The recipe.
        json: File for the scores as JSON, ``-`` for standard output; None for tables.
        recipe: File of the recipe, which is copied into the run folder.
    """
    from palpate.cli.tables.scores import print_scores
    from palpate.pipeline.run.run import run

    check_target(json)
    with show_progress() as progress:
        run(config, progress, recipe, checked=_announce)
    print_scores(config.folder, json)


def run_own(config: RunConfig, json: Path | None = None) -> None:
    """:func:`run_and_show` for commands whose options about masks are ``--mask``."""
    from palpate.data.structures import UnclearMasks

    try:
        run_and_show(config, json)
    except UnclearMasks as error:
        raise error.advising("--mask") from error


def configs_of(command: str, words: list[str]) -> dict[str, RunConfig]:
    """The runs that a command line asks for, by their labels in the recipe.

    Raises:
        FileNotFoundError, ValueError: If the recipe or the options cannot be used.
    """
    from palpate.pipeline.several.sweep import read_sweep

    criteria, words = _take("--criteria", words, "a file of acceptance criteria")
    recipe, rest = _take_config(words)
    runs = read_sweep(recipe) if recipe else {"": _defaults(command, rest)}
    configs = {
        label: _with_known_options(_parse(command, rest, default), default)
        for label, default in runs.items()
    }
    _refuse_overruled(runs, configs)
    if criteria is not None:
        from palpate.pipeline.run.acceptance import read_criteria_file

        acceptance = read_criteria_file(criteria).values
        configs = {k: replace(config, acceptance=acceptance) for k, config in configs.items()}
    if recipe is None:
        return {label: titled(_named(config)) for label, config in configs.items()}
    return {label: titled(config, runs[label].data) for label, config in configs.items()}


def _parse(command: str, words: Sequence[str], default: RunConfig) -> RunConfig:
    options = tyro.conf.AvoidSubcommands[RunConfig]
    words = ["--help" if word == HELP_ALL else word for word in words]
    about = f"{_DOES[command]}\n\n{_OVERRIDE} {_CRITERIA} {_NO_RECIPE}"
    config: RunConfig = parse(
        options, words, default=default, prog=f"palpate {command}", description=about
    )
    return config


def _refuse_overruled(runs: Mapping[str, RunConfig], configs: Mapping[str, RunConfig]) -> None:
    """Refuse options that override the settings in which the runs of a recipe differ."""
    for one, other in combinations(configs, 2):
        if configs[one] == configs[other] and runs[one] != runs[other]:
            raise UsageError(
                f"Expected options that leave the runs of the recipe different, but with these "
                f"{one} and {other} are the same. Leave out what its `each` sets, or take the "
                "`each` out of the recipe."
            )


def _with_known_options(config: RunConfig, default: RunConfig) -> RunConfig:
    """Add the recipe's options to attacks that the command line gives by name only."""
    known, attacks = default.evaluate.attacks, dict[str, Mapping[str, Any]]()
    for name, options in config.evaluate.attacks.items():
        entry = {name: options} if options else given_by_name([name], known)
        for label in attacks.keys() & entry.keys():
            raise UsageError(
                f"Expected one attack called {label!r}, got another by {name}. Give one of them "
                f'a name of its own: "my-{label}: {{attack: {name}}}".'
            )
        attacks |= entry
    return replace(config, evaluate=replace(config.evaluate, attacks=attacks))


def _defaults(command: str, words: Sequence[str]) -> RunConfig:
    """Return default settings for a command line without a recipe.

    Model and data must be named: a default for either could start hours of unwanted computation.
    ``run`` attacks the model without training it, unless an option is about training.

    Raises:
        UsageError: If model or data are not named, or an option is misspelt.
    """
    options = [word.partition("=")[0].replace("_", "-") for word in words if word.startswith("-")]
    builds = any(option.startswith(_BUILD) for option in options)
    whole = RunConfig(model=ModelConfig(build=BuildConfig()))
    if HELP_ALL in options:
        return whole
    if "--data.name" not in options or not (builds or "--model.name" in options):
        _parse(command, words, whole)  # first report a misspelt option, such as `--modle.name x`
        raise UsageError(
            f"Expected a recipe (palpate {command} --config {_RECIPES}/kvasir-quick.yaml; "
            f"{_recipes_here()}) or a model and data (palpate {command} --model.name palpate/tiny "
            "--data.name phantom-endoscopy)."
        )
    if builds:
        return whole
    trains = command == "train" or any(option.startswith(_OF_TRAINING) for option in options)
    # The name is a placeholder: the command line has the real one.
    return RunConfig(model=ModelConfig(name="-", adapter=ModelConfig.adapter if trains else None))


def _named(config: RunConfig) -> RunConfig:
    """Name a run after its model and data if it has no name, so that runs do not share a folder."""
    if config.out is not None or config.name != RunConfig.name:
        return config
    model = Path(config.model.name or "built").stem
    data = title_of(config.data) or config.data.name
    return replace(config, name=f"{model}-{data}".replace("/", "-").replace(":", "-"))


def _announce(config: RunConfig, label: str = "", *, attacks: bool = True) -> None:
    """Print on standard error what a run is going to do, once its settings are checked."""
    from palpate.pipeline.attacks.plan import described

    print(f"{label}{described(config, attacks=attacks)}", file=sys.stderr)


def _announce_training(config: RunConfig) -> None:
    _announce(config, attacks=False)


def _take_config(words: list[str]) -> tuple[Path | None, list[str]]:
    """Split off ``--config``; in the other words replace YAML's null by tyro's None."""
    rest = ["None" if word == NULL else word for word in words]
    return _take("--config", rest, "a recipe", f"; {_recipes_here()}")


def _take(
    option: str, words: list[str], what: str, hint: str = ""
) -> tuple[Path | None, list[str]]:
    """Split off an option with the path after it."""
    for index, word in enumerate(words):
        if word == option:
            if index + 1 == len(words) or words[index + 1].startswith("-"):
                raise UsageError(f"Expected {what} after {option}{hint}.")
            return Path(words[index + 1]), words[:index] + words[index + 2 :]
        if word.startswith(f"{option}="):
            return Path(word.removeprefix(f"{option}=")), words[:index] + words[index + 1 :]
    return None, words


def _recipes_here() -> str:
    """List the recipes in the folder ``recipes``, for an error message."""
    found = ", ".join(path.name for path in sorted(_RECIPES.glob("*.yaml")))
    return f"{_RECIPES}/ has {found}" if found else f"those of palpate are in its {_RECIPES}/"
