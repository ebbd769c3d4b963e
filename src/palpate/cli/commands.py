"""The table of commands, with one line of help each; their code is imported when called.

Do not import anything slow here: ``palpate --help`` and shell completion load this file.
"""

from typing import NamedTuple


class UsageError(ValueError):
    """Raised if a command line cannot be parsed."""


class Command(NamedTuple):
    """One command.

    Attributes:
        function: Its function, as ``package.module:name``.
        about: One line of help.
        recipe: For commands that read a recipe: the dataclass whose fields are their options.
            Their function receives the words of the command line unparsed.
        status: Exit status after an error.
    """

    function: str
    about: str
    recipe: str = ""
    status: int = 1


_RUN = "palpate.pipeline.recipe.config:RunConfig"
_PRETRAIN = "palpate.pipeline.run.pretrain:PretrainConfig"

COMMANDS: dict[str, Command] = {
    "demo": Command(
        "palpate.cli.demo:demo", "fine-tune and attack a small model in minutes; needs no files"
    ),
    "run": Command("palpate.cli.recipes:run", "train, attack, score and report", _RUN),
    "train": Command("palpate.cli.recipes:train", "only train, and save a checkpoint", _RUN),
    "pretrain": Command(
        "palpate.cli.recipes:pretrain", "distil a small CLIPSeg from a DINOv2", _PRETRAIN
    ),
    "evaluate": Command(
        "palpate.cli.runs:evaluate", "attack a model on your images, or add attacks to a run"
    ),
    "predict": Command(
        "palpate.cli.predict:predict", "write the masks that a model predicts for your images"
    ),
    "report": Command("palpate.cli.runs:report", "write tables, figures and page of a run again"),
    "gate": Command("palpate.cli.gate:gate", "judge a run by acceptance criteria; for CI"),
    "compare": Command("palpate.cli.runs:compare", "compare finished runs, paired by image"),
    "rerun": Command(
        "palpate.cli.repeat:rerun",
        "repeat a run from its run folder, and compare the rows",
        status=2,  # 1 says that rows differ
    ),
    "verify": Command(
        "palpate.cli.repeat:verify", "recompute a sample of the rows of a run", status=2
    ),
    "transfer": Command(
        "palpate.cli.transfer:transfer", "attack each model with examples made on the others"
    ),
    "data prepare": Command(
        "palpate.cli.data:prepare", "convert the official download of a data set"
    ),
    "data check": Command("palpate.cli.data:check", "look for errors in data sets"),
    "data show": Command("palpate.cli.data:show", "draw images with their masks and prompts"),
    "data prompts": Command("palpate.cli.data:prompts", "write or import prompts of a data set"),
    "data split": Command("palpate.cli.data:split", "make new splits of a data set, by patient"),
    "models": Command("palpate.cli.models:models", "list models with their sizes and licences"),
    "models check": Command("palpate.cli.models:check", "test whether a model can be attacked"),
    "attacks": Command("palpate.cli.attacks:attacks", "list attacks with their options"),
    "attacks check": Command("palpate.cli.attacks:check", "test an attack, such as your own"),
    "completion": Command(
        "palpate.cli.completion:completion", "print the completion script for bash"
    ),
}

EXAMPLES = """\
  palpate demo
  palpate run --model.name palpate/tiny --data.name phantom-endoscopy
  palpate evaluate net.py:make --images DIR --masks DIR
  palpate run --config recipes/kvasir-quick.yaml --data.root DIR --evaluate.epsilon-255 1 2 4
  palpate data check kvasir --root DIR
"""


def usage(group: str = "") -> str:
    """The help page of palpate, or of a group of commands such as ``data``."""
    shown = {name: c.about for name, c in COMMANDS.items() if f"{name} ".startswith(group)}
    lines = "".join(f"  palpate {name:<15}{about}\n" for name, about in shown.items())
    end = "\nRun any command with --help for its options.\n"
    if group:
        return f"usage: palpate {group.strip()} COMMAND [OPTIONS]\n\n{lines}{end}"
    return (
        "usage: palpate COMMAND [OPTIONS]\n\nEvaluate the robustness of medical image segmentation "
        f"models to attacks on image and prompt.\n\nCommands:\n{lines}\nExamples:\n{EXAMPLES}{end}"
        "`palpate --version` prints the version. Options of run and train are the settings of a "
        "recipe.\n"
    )


def top_level() -> list[str]:
    """First words of all commands, in order."""
    return list(dict.fromkeys(name.split()[0] for name in COMMANDS))


def subcommands(group: str) -> list[str]:
    """Second words of the commands that begin with ``group``."""
    return [name.split()[1] for name in COMMANDS if name.startswith(f"{group} ")]
