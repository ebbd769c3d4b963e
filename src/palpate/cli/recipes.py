"""Commands that a recipe describes: ``run``, ``train`` and ``pretrain``."""

from collections.abc import Mapping
from pathlib import Path

import tyro

from palpate.pipeline import watching
from palpate.pipeline.config import BuildConfig, ModelConfig, RunConfig, read_recipe

# Without a recipe: whatever CLIPSeg --model.name says, else one built from a DINOv2.
_PLAIN = RunConfig(model=ModelConfig(build=BuildConfig()))


def run_recipe(command: str, arguments: list[str]) -> None:
    """``run`` and ``train``: the recipe gives the defaults of every option."""
    from palpate.pipeline.sweep import in_folders, read_sweep, run_sweep

    recipe, rest = _take_config(arguments)
    options = tyro.conf.AvoidSubcommands[RunConfig]
    configs = {
        label: tyro.cli(options, default=default, args=rest, prog=f"palpate {command}")
        for label, default in (read_sweep(recipe) if recipe else {"": _PLAIN}).items()
    }
    if command == "train":
        _train(in_folders(configs))
    elif len(configs) == 1:
        make(*configs.values())
    else:
        folder = next(iter(configs.values())).folder
        with watching() as progress:
            page = run_sweep(in_folders(configs), folder, progress)
        print(page)


def make(config: RunConfig) -> None:
    """A whole run, its scores on the terminal, and the path of its page."""
    from palpate.pipeline.run import run
    from palpate.pipeline.show import show_scores

    with watching() as progress:
        page = run(config, progress)
    show_scores(config.folder)
    print(page)


def pretrain(arguments: list[str]) -> None:
    """``pretrain``: likewise."""
    from palpate.pipeline.teach import TeachConfig, teach

    recipe, rest = _take_config(arguments)
    default = read_recipe(recipe, TeachConfig) if recipe else TeachConfig()
    config = tyro.cli(TeachConfig, default=default, args=rest, prog="palpate pretrain")
    with watching() as progress:
        made = teach(config, progress)
    print(made)


def _train(configs: Mapping[str, RunConfig]) -> None:
    from palpate.pipeline.run import train_only

    with watching() as progress:
        for config in configs.values():
            print(train_only(config, progress))


def _take_config(arguments: list[str]) -> tuple[Path | None, list[str]]:
    for index, argument in enumerate(arguments):
        if argument == "--config" and index + 1 < len(arguments):
            return Path(arguments[index + 1]), arguments[:index] + arguments[index + 2 :]
        if argument.startswith("--config="):
            return Path(argument.removeprefix("--config=")), (
                arguments[:index] + arguments[index + 1 :]
            )
    return None, arguments
