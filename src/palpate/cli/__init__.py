"""The command line: every command is a dataclass of its options, or a function, of a few lines."""

import io
import os
import sys
from collections.abc import Callable

import tyro

from palpate.cli import attacks, data, models, recipes
from palpate.cli import runs as finished
from palpate.cli.demo import Demo
from palpate.cli.parsing import UsageError, later, parse
from palpate.errors import did_you_mean
from palpate.version import release

_WHOLE: dict[str, Callable[..., Callable[[], None]]] = {
    "demo": Demo,
    "evaluate": finished.Evaluate,
    "report": finished.Report,
    "compare": finished.Compare,
    "transfer": finished.Transfer,
}

_COMMANDS = (
    "demo", "run", "train", "pretrain", "evaluate", "report", "compare", "transfer", "data",
    "models", "attacks",
)  # fmt: skip

_UNREAD = 141  # as a shell reports what SIGPIPE has ended

_USAGE = """\
palpate presses on medical image segmentation models and shows how they give way.

  palpate demo [--modality dermoscopy] [--fast]     all of it in minutes, without any files
  palpate run --config recipes/kvasir-quick.yaml    train, attack, score and report
  palpate run --model.name palpate/tiny --data.name phantom-endoscopy    press a model as it is
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
    _say_what_can_be_said()
    try:
        _dispatch(arguments)
    except BrokenPipeError:  # whoever read has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_UNREAD)
    except UsageError as error:
        print(f"palpate: {error}", file=sys.stderr)
        sys.exit(2)
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        sys.exit(f"palpate: {error}")
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        sys.exit(130)


def _say_what_can_be_said() -> None:
    """A sign that the output has no letter for, as behind a pipe on Windows, costs no result."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _dispatch(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE, end="")
    elif arguments[0] in ("run", "train"):
        recipes.run_recipe(arguments[0], arguments[1:])
    elif arguments[0] == "pretrain":
        recipes.pretrain(arguments[1:])
    elif arguments[0] == "data":
        _about_data(arguments[1:])
    elif arguments[:2] == ["models", "check"]:
        parse(later(models.check_model), arguments[2:], prog="palpate models check")()
    elif arguments[0] == "models":
        parse(later(models.models), arguments[1:], prog="palpate models")()
    elif arguments[:2] == ["attacks", "check"]:
        parse(later(attacks.check_attack), arguments[2:], prog="palpate attacks check")()
    elif arguments[0] == "attacks":
        parse(later(attacks.attacks), arguments[1:], prog="palpate attacks")()
    elif arguments[0] in _WHOLE:
        parse(_WHOLE[arguments[0]], arguments[1:], prog=f"palpate {arguments[0]}")()
    elif arguments[0] == "--version":
        print(f"palpate {release()}")
    else:
        raise UsageError(
            f"Expected one of the commands {', '.join(_COMMANDS)}, got {arguments[0]!r}."
            f"{did_you_mean(arguments[0], _COMMANDS)}"
        )


def _about_data(arguments: list[str]) -> None:
    commands = {name: later(command) for name, command in data.COMMANDS.items()}
    wanted = arguments[0] if arguments else ""
    if wanted in commands:
        parse(commands[wanted], arguments[1:], prog=f"palpate data {wanted}")()
    elif not wanted or wanted.startswith("-"):
        tyro.extras.subcommand_cli_from_dict(commands, prog="palpate data", args=arguments)
    else:
        raise UsageError(
            f"Expected one of palpate data {', '.join(commands)}, got {wanted!r}."
            f"{did_you_mean(wanted, commands)}"
        )
