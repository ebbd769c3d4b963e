"""Commands that a recipe describes: ``run``, ``train`` and ``pretrain``."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import tyro

from palpate.cli.parsing import NULL, UsageError, parse
from palpate.cli.without_recipe import defaults, named, recipes_here
from palpate.pipeline import watching
from palpate.pipeline.config import RunConfig, read_recipe


def run_recipe(command: str, arguments: list[str]) -> None:
    """``run`` and ``train``: the recipe gives the defaults of every option."""
    from palpate.pipeline.sweep import in_folders, run_sweep

    configs = understood(command, arguments)
    if command == "train":
        _train(in_folders(configs))
    elif len(configs) == 1:
        make(*configs.values())
    else:
        folder = next(iter(configs.values())).folder
        for label, config in configs.items():
            _announce(config, f"{label}: ")
        with watching() as progress:
            page = run_sweep(in_folders(configs), folder, progress)
        print(page)


def understood(command: str, arguments: list[str]) -> dict[str, RunConfig]:
    """The runs that a command line asks for, by what tells them apart in the recipe.

    Raises:
        FileNotFoundError, ValueError: If the recipe or the words cannot be used.
    """
    from palpate.pipeline.sweep import read_sweep

    recipe, rest = _take_config(arguments)
    options = tyro.conf.AvoidSubcommands[RunConfig]
    runs = read_sweep(recipe) if recipe else {"": defaults(command, rest)}
    configs = {
        label: _as_before(parse(options, rest, default=default, prog=f"palpate {command}"), default)
        for label, default in runs.items()
    }
    _refuse_overruled(runs, configs)
    if recipe is None:
        return {label: named(config) for label, config in configs.items()}
    return configs


def _refuse_overruled(runs: Mapping[str, RunConfig], configs: Mapping[str, RunConfig]) -> None:
    """Refuse options that leave nothing of what tells two runs of a recipe apart."""
    for one, other in combinations(configs, 2):
        if configs[one] == configs[other] and runs[one] != runs[other]:
            raise UsageError(
                f"Expected options that leave the runs of the recipe different, but with these "
                f"{one} and {other} are the same. Leave out what its `each` sets, or take the "
                "`each` out of the recipe."
            )


def _as_before(config: RunConfig, default: RunConfig) -> RunConfig:
    """With the options of the recipe for the attacks that the command line picks by name."""
    known = default.evaluate.attacks
    attacks = {name: known.get(name, given) for name, given in config.evaluate.attacks.items()}
    return replace(config, evaluate=replace(config.evaluate, attacks=attacks))


def make(config: RunConfig) -> None:
    """A whole run, its scores on the terminal, and the path of its page."""
    from palpate.cli.tables.scores import show_scores
    from palpate.pipeline.run import run

    _announce(config)
    with watching() as progress:
        page = run(config, progress)
    show_scores(config.folder)
    print(page)


def pretrain(arguments: list[str]) -> None:
    """``pretrain``: likewise."""
    from palpate.pipeline.pretrain import TeachConfig, teach

    recipe, rest = _take_config(arguments)
    if recipe is None and not rest:
        raise UsageError(
            "Expected a recipe (palpate pretrain --config recipes/tiny.yaml) or options; "
            f"{recipes_here()}."
        )
    default = read_recipe(recipe, TeachConfig) if recipe else TeachConfig()
    config = parse(TeachConfig, rest, default=default, prog="palpate pretrain")
    with watching() as progress:
        made = teach(config, progress)
    print(made)


def _train(configs: Mapping[str, RunConfig]) -> None:
    from palpate.pipeline.run import train_only

    with watching() as progress:
        for config in configs.values():
            _announce(config, attacks=False)
            print(train_only(config, progress))


def _announce(config: RunConfig, label: str = "", *, attacks: bool = True) -> None:
    """Say what is going to happen, on standard error, before hours of it."""
    from palpate.pipeline.plan import described

    print(f"{label}{described(config, attacks=attacks)}", file=sys.stderr)


def _take_config(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """The recipe, and the other words, in which what YAML calls null is what tyro calls None."""
    rest = ["None" if word == NULL else word for word in arguments]
    for index, word in enumerate(rest):
        if word == "--config":
            if index + 1 == len(rest) or rest[index + 1].startswith("-"):
                raise UsageError(f"Expected a recipe after --config; {recipes_here()}.")
            return Path(rest[index + 1]), rest[:index] + rest[index + 2 :]
        if word.startswith("--config="):
            return Path(word.removeprefix("--config=")), rest[:index] + rest[index + 1 :]
    return None, rest
