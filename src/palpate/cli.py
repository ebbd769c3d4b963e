"""The command line: every command is a dataclass of its options and a ``run`` of a few lines."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml

from palpate.hints import did_you_mean
from palpate.models.adapters import AdapterName
from palpate.pipeline import watching
from palpate.pipeline.config import BuildConfig, ModelConfig, RunConfig, read_recipe
from palpate.pipeline.demo import DEFAULT, OwnData, demo_config


@dataclass(frozen=True)
class Evaluate:
    """Attack the model of a run and add the rows to it."""

    run: Path
    """Run folder, as made by `palpate run` or `palpate train`."""
    attacks: tuple[str, ...] | None = None
    """Attacks to run; by default those of the recipe."""
    epsilon_255: tuple[float, ...] | None = None
    """Radii of the ball, in steps of an 8-bit image (1 = 1/255); by default those of the recipe."""

    def __call__(self) -> None:
        from palpate.pipeline.run import evaluate_again

        with watching() as progress:
            rows = evaluate_again(self.run, self.attacks, self.epsilon_255, progress)
        print(rows)


@dataclass(frozen=True)
class Demo:
    """Fine-tune, attack and report the embedded model in minutes, on drawn images or your own."""

    modality: str = DEFAULT
    """endoscopy, dermoscopy or echo: which phantoms; not with images of your own."""
    fast: bool = False
    """Less of everything, in less than a minute."""
    images: Path | None = None
    """Folder of images of your own."""
    masks: Path | None = None
    """Folder of their masks, called like the images."""
    prompt: str | None = None
    """What the masks outline, such as "polyp"."""
    out: Path | None = None
    """Run folder; by default palpate-demo-MODALITY in the current directory."""

    def __call__(self) -> None:
        _make(demo_config(self.modality, fast=self.fast, own=self._own(), out=self.out))

    def _own(self) -> OwnData | None:
        if self.images and self.masks and self.prompt:
            return OwnData(self.images, self.masks, self.prompt)
        if self.images or self.masks or self.prompt:
            raise ValueError(
                "Expected --images DIR, --masks DIR and --prompt TEXT together for data of your "
                "own, or none of them for phantoms."
            )
        return None


@dataclass(frozen=True)
class Report:
    """Write the tables, figures and page of a run anew."""

    run: Path
    """Run folder that has rows."""

    def __call__(self) -> None:
        from palpate.pipeline.run import make_report

        print(make_report(self.run))


def check(name: tyro.conf.Positional[str], root: Path | None = None) -> None:
    """Open every file of a data set and count what is there.

    Args:
        name: Data set; `folder` for one of your own in the same layout.
        root: Folder that holds it; by default $PALPATE_DATA, or else data/.
    """
    from palpate.pipeline.show import show_data

    show_data(name, root)


def models(
    names: tyro.conf.Positional[tuple[str, ...]] = (),
    adapter: AdapterName | None = None,
    options: dict[str, str] | None = None,
) -> None:
    """Print the cards of models: sizes, threshold, whether gradients reach the pixels, licence.

    Args:
        names: Names, folders or code (module:function); by default all that come with palpate.
        adapter: To put into them.
        options: Of the family, as NAME VALUE ...; values are read as YAML.
    """
    from palpate.pipeline.models import show_models

    show_models(names, adapter, _values(options))


def check_model(
    name: tyro.conf.Positional[str],
    adapter: AdapterName | None = None,
    options: dict[str, str] | None = None,
    prompts: tuple[str, ...] = (),
    size: int = 224,
) -> None:
    """Check that a model can be attacked: gradient, determinism, independence of images, mode.

    Args:
        name: Name, folder or code (module:function).
        adapter: To put into it.
        options: Of the family, as NAME VALUE ...; values are read as YAML.
        prompts: To ask with; by default those of the phantoms it is tried on.
        size: Side of the images, in pixels.
    """
    from palpate.pipeline.models import check_model

    if not check_model(name, adapter, _values(options), prompts, size):
        raise ValueError(f"{name} is not fit to be attacked; see what failed above.")


def _values(options: Mapping[str, str] | None) -> dict[str, Any]:
    return {name: yaml.safe_load(text) for name, text in (options or {}).items()}


Other = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Report, tyro.conf.subcommand("report")]
)

# Without a recipe: whatever CLIPSeg --model.name says, else one built from a DINOv2.
_PLAIN = RunConfig(model=ModelConfig(build=BuildConfig()))

_COMMANDS = ("demo", "run", "train", "pretrain", "evaluate", "report", "data", "models")

_USAGE = """\
palpate presses on medical image segmentation models and shows how they give way.

  palpate demo [--modality dermoscopy] [--fast]     all of it in minutes, without any files
  palpate run --config recipes/kvasir-quick.yaml    train, attack, score and report
  palpate train --config RECIPE                     the first half: a trained checkpoint
  palpate pretrain --config recipes/tiny.yaml       a small model of one's own, from a DINOv2
  palpate evaluate --run DIR [--attacks NAME ...]   attack the model of a run
  palpate report --run DIR                          tables, figures and page of a run
  palpate data check kvasir [--root DIR]            check and count a data set
  palpate models [NAME ...]                         cards of models
  palpate models check NAME                         can this model be attacked?

Each knows --help. Settings of a recipe can be given on the command line: --data.root DIR,
--out DIR, --train.settings.epochs 5, --evaluate.epsilon-255 1 2 4.
"""


def main(arguments: list[str] | None = None) -> None:
    """Entry point; errors that a user can mend come as one message, without a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        _dispatch(arguments)
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        sys.exit(f"palpate: {error}")
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        sys.exit(130)


def _dispatch(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE, end="")
    elif arguments[0] in ("run", "train"):
        _run(arguments[0], arguments[1:])
    elif arguments[0] == "pretrain":
        _pretrain(arguments[1:])
    elif arguments[0] == "data":
        tyro.extras.subcommand_cli_from_dict(
            {"check": check}, prog="palpate data", args=arguments[1:]
        )
    elif arguments[0] == "models":
        if arguments[1:2] == ["check"]:
            tyro.cli(check_model, prog="palpate models check", args=arguments[2:])
        else:
            tyro.cli(models, prog="palpate models", args=arguments[1:])
    elif arguments[0] in ("demo", "evaluate", "report"):
        tyro.cli(Other, args=arguments, prog="palpate")()
    elif arguments[0] == "--version":
        print(f"palpate {version('palpate')}")
    else:
        raise ValueError(
            f"Expected one of the commands {', '.join(_COMMANDS)}, got {arguments[0]!r}."
            f"{did_you_mean(arguments[0], _COMMANDS)}"
        )


def _run(command: str, arguments: list[str]) -> None:
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
        _make(*configs.values())
    else:
        folder = next(iter(configs.values())).folder
        with watching() as progress:
            page = run_sweep(in_folders(configs), folder, progress)
        print(page)


def _train(configs: Mapping[str, RunConfig]) -> None:
    from palpate.pipeline.run import train_only

    with watching() as progress:
        for config in configs.values():
            print(train_only(config, progress))


def _make(config: RunConfig) -> None:
    """A whole run, its scores on the terminal, and the path of its page."""
    from palpate.pipeline.run import run
    from palpate.pipeline.show import show_scores

    with watching() as progress:
        page = run(config, progress)
    show_scores(config.folder)
    print(page)


def _pretrain(arguments: list[str]) -> None:
    """``pretrain``: likewise."""
    from palpate.pipeline.teach import TeachConfig, teach

    recipe, rest = _take_config(arguments)
    default = read_recipe(recipe, TeachConfig) if recipe else TeachConfig()
    config = tyro.cli(TeachConfig, default=default, args=rest, prog="palpate pretrain")
    with watching() as progress:
        made = teach(config, progress)
    print(made)


def _take_config(arguments: list[str]) -> tuple[Path | None, list[str]]:
    for index, argument in enumerate(arguments):
        if argument == "--config" and index + 1 < len(arguments):
            return Path(arguments[index + 1]), arguments[:index] + arguments[index + 2 :]
        if argument.startswith("--config="):
            return Path(argument.removeprefix("--config=")), (
                arguments[:index] + arguments[index + 1 :]
            )
    return None, arguments


if __name__ == "__main__":
    main()
