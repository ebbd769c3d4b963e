"""``palpate run --help``: the settings that most users need; ``--help-all`` lists all of them."""

import ast
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from palpate.cli.definitions import Definition, Parameter, find, parameters

SHOWN = (
    "name", "out", "seed",
    "data.name", "data.root", "data.images", "data.masks", "data.override_prompt", "data.size",
    "data.test_limit",
    "model.name", "model.adapter", "model.learns", "model.options", "model.device",
    "train.settings.epochs", "train.settings.learning_rate",
    "evaluate.split", "evaluate.attacks", "evaluate.epsilon_255",
)  # fmt: skip
HELP_ALL = "--help-all"
_MODULE, _RECIPE = "palpate.pipeline.recipe.config", "RunConfig"
_OF_COMMAND = (
    ("--config RECIPE", "YAML file with the settings; options given here override it."),
    ("--json [FILE.json]", "Print the scores as JSON, or write them to this file."),
    (HELP_ALL, "List all settings."),
)


def wants_short_help(words: Sequence[str]) -> bool:
    """Whether the words of a command line ask for help, but not for all of it."""
    return bool({"-h", "--help"} & set(words))


def show_short_help(command: str, about: str) -> None:
    """Print the settings that most users need.

    Args:
        command: The command, such as ``run``.
        about: What it does.
    """
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for option, text in _OF_COMMAND:
        table.add_row(f"  {escape(option)}", escape(text))
    group = ""
    for name in SHOWN:
        if (before := name.rpartition(".")[0].partition(".")[0]) != group:
            group = before
            table.add_row("")
        table.add_row(f"  --{name.replace('_', '-')}", escape(_told(_setting(name))))
    console = Console(highlight=False)
    console.print(f"usage: palpate {escape(f'{command} [OPTIONS]')}\n\n{escape(about)}\n")
    console.print(table)
    console.print(
        f"\n`palpate {command} --help-all` lists all settings of a recipe, each of which is an "
        "option.",
        markup=False,
    )


def _setting(name: str) -> Parameter:
    """The field that a dotted name refers to.

    Raises:
        LookupError: If there is no such setting.
    """
    definition: Definition | None = find(_MODULE, _RECIPE)
    field = None
    for part in name.split("."):
        fields = {each.name: each for each in parameters(definition)} if definition else {}
        if part not in fields:
            raise LookupError(f"There is no setting {name} in {_MODULE}.")
        field = fields[part]
        definition = next(_classes(field), None)
    assert field is not None
    return field


def _classes(field: Parameter) -> Iterator[Definition]:
    """Classes of palpate that the annotation of a field names."""
    tree = [] if field.annotation is None else ast.walk(field.annotation)
    for node in tree:
        found = find(field.module, node.id) if isinstance(node, ast.Name) else None
        if found is not None and isinstance(found.node, ast.ClassDef):
            yield found


def _told(field: Parameter) -> str:
    """Help and default of a setting; a default of None needs no mention."""
    default = "" if field.default is None else ast.unparse(field.default)
    if default in ("", "None") or "field(" in default:
        return field.about
    return f"{field.about} Default: {default.strip(chr(39))}."
