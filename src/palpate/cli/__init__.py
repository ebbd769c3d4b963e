"""The command line: every command is a dataclass of its options, or a function, of a few lines."""

import sys
from importlib.metadata import version
from typing import Annotated

import tyro

from palpate.cli import attacks, data, finished, models, recipes
from palpate.cli.demo import Demo
from palpate.hints import did_you_mean

Other = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[finished.Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[finished.Report, tyro.conf.subcommand("report")]
    | Annotated[finished.Compare, tyro.conf.subcommand("compare")]
    | Annotated[finished.Transfer, tyro.conf.subcommand("transfer")]
)

_COMMANDS = (
    "demo", "run", "train", "pretrain", "evaluate", "report", "compare", "transfer", "data",
    "models", "attacks",
)  # fmt: skip

_USAGE = """\
palpate presses on medical image segmentation models and shows how they give way.

  palpate demo [--modality dermoscopy] [--fast]     all of it in minutes, without any files
  palpate run --config recipes/kvasir-quick.yaml    train, attack, score and report
  palpate train --config RECIPE                     the first half: a trained checkpoint
  palpate pretrain --config recipes/tiny.yaml       a small model of one's own, from a DINOv2
  palpate evaluate --run DIR [--attacks NAME ...]   attack the model of a run
  palpate report --run DIR                          tables, figures and page of a run
  palpate compare DIR DIR ...                       runs side by side, image by image
  palpate transfer DIR DIR ...                      does what breaks one model break the next?
  palpate data check kvasir [--root DIR]            all that can be wrong with a data set
  palpate data show kvasir [--out PNG]              a contact sheet with outlines and prompts
  palpate data split kvasir --seed 0 [--folds 5]    divide it anew, by patient
  palpate data prepare kvasir --source ZIP --out DIR    a data set from its official download
  palpate data prompts DIR [--templates YAML]       write its prompts anew, or --annotations JSON
  palpate models [NAME ...]                         cards of models
  palpate models check NAME                         can this model be attacked?
  palpate attacks                                   what attacks there are, and what they take
  palpate attacks check NAME                        can this attack, or your own, be believed?

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
        recipes.run_recipe(arguments[0], arguments[1:])
    elif arguments[0] == "pretrain":
        recipes.pretrain(arguments[1:])
    elif arguments[0] == "data":
        tyro.extras.subcommand_cli_from_dict(data.COMMANDS, prog="palpate data", args=arguments[1:])
    elif arguments[:2] == ["models", "check"]:
        tyro.cli(models.check_model, prog="palpate models check", args=arguments[2:])
    elif arguments[0] == "models":
        tyro.cli(models.models, prog="palpate models", args=arguments[1:])
    elif arguments[:2] == ["attacks", "check"]:
        tyro.cli(attacks.check_attack, prog="palpate attacks check", args=arguments[2:])
    elif arguments[0] == "attacks":
        tyro.cli(attacks.attacks, prog="palpate attacks", args=arguments[1:])
    elif arguments[0] in ("demo", "evaluate", "report", "compare", "transfer"):
        tyro.cli(Other, args=arguments, prog="palpate")()
    elif arguments[0] == "--version":
        print(f"palpate {version('palpate')}")
    else:
        raise ValueError(
            f"Expected one of the commands {', '.join(_COMMANDS)}, got {arguments[0]!r}."
            f"{did_you_mean(arguments[0], _COMMANDS)}"
        )
