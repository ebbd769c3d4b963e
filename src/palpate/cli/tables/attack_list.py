"""Prints the list of attacks as tables; they are read from the source without loading torch."""

import ast
import importlib.metadata
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from palpate.cli.definitions import (
    Definition,
    constant,
    entries,
    find,
    first_paragraph,
    parameters,
    summary,
)

_IMAGE, _TEXT = "palpate.attacks", "palpate.attacks.text"
_THREATS = "palpate.attacks.threats"
# Arguments that the evaluation passes, not the user.
_NOT_OPTIONS = {"epsilon", "generator", "threshold", "std", "truth"}


class AttackEntry(NamedTuple):
    """One line of the list: name, what it does, and its options or whether the text is benign."""

    name: str
    about: str
    detail: str


def show_attacks() -> None:
    """Print every attack with its options, and the names of losses and threat models."""
    on_image = _table("on the image", "options", [*image_attacks(), *_of_plugins()])
    on_prompt = _table("on the prompt", "the changed text means", text_attacks())
    names = Table.grid(padding=(0, 2))
    names.add_row("  loss", ", ".join(entries(_IMAGE, "LOSSES")))
    names.add_row("  within", ", ".join(_threats()))
    Console().print(on_image, on_prompt, names)


def listed_attacks() -> dict[str, Any]:
    """The list of attacks as plain values."""
    return {
        "image": [each._asdict() for each in [*image_attacks(), *_of_plugins()]],
        "prompt": [each._asdict() for each in text_attacks()],
        "losses": list(entries(_IMAGE, "LOSSES")),
        "within": _threats(),
    }


def _threats() -> list[str]:
    first, last = (constant(_found(_THREATS, name)) for name in ("ANYWHERE", "LATTICE"))
    return list(map(str, (first, *entries(_THREATS, "CONSTRAINTS"), last)))


def image_attacks() -> list[AttackEntry]:
    """List the attacks on images, with their options and defaults."""
    return [
        AttackEntry(name, summary(function), ", ".join(_options(function)))
        for name, value in entries(_IMAGE, "ATTACKS").items()
        for function in [_function(value)]
    ]


def added_attacks(attacks: Mapping[str, Callable[..., Any]]) -> list[AttackEntry]:
    """List the attacks of a registry that are not in palpate's source."""
    known = entries(_IMAGE, "ATTACKS")
    return [
        AttackEntry(name, first_paragraph(inspect.getdoc(attack)), ", ".join(_names(attack)))
        for name, attack in attacks.items()
        if name not in known
    ]


def _names(attack: Callable[..., Any]) -> list[str]:
    names = list(inspect.signature(attack).parameters)[3:]  # after model, images and masks
    return [name for name in names if name not in _NOT_OPTIONS]


def _of_plugins() -> list[AttackEntry]:
    """List the attacks of installed plugins; only if there are any, torch is imported."""
    if not importlib.metadata.entry_points(group="palpate.plugins"):
        return []
    from palpate.attacks import ATTACKS

    return added_attacks(ATTACKS)


def text_attacks() -> list[AttackEntry]:
    """List the attacks on the prompt, and whether they preserve the meaning of the text."""
    listed = [_text_attack(name, value) for name, value in entries(_TEXT, "TEXT_ATTACKS").items()]
    about = summary(_found(_TEXT, "joint"))
    both = f"{about} Its options are image, text, epsilon_255 and rounds."
    return [*listed, AttackEntry("joint", both, "depends on its text attack")]


def _text_attack(name: str, value: Definition) -> AttackEntry:
    """Read an entry from ``TextAttack(candidates, kind)`` or a call of a function returning one."""
    made = value
    if isinstance(value.node, ast.Call) and ast.unparse(value.node.func) != "TextAttack":
        function = _function(value)
        calls = (node for node in ast.walk(function.node) if isinstance(node, ast.Call))
        call = next(node for node in calls if ast.unparse(node.func) == "TextAttack")
        made = Definition(function.module, call)
    assert isinstance(made.node, ast.Call)
    kind = constant(Definition(made.module, made.node.args[1]))
    same = "the same" if kind == "benign" else "something else, or nothing"
    candidates = Definition(made.module, made.node.args[0]) if made is value else value
    return AttackEntry(name, summary(_function(candidates)), same)


def _function(value: Definition) -> Definition:
    """The function that a name, a call of it, or ``partial`` of it stands for."""
    node = value.node
    if isinstance(node, ast.Name):
        return _function(_found(value.module, node.id))
    if isinstance(node, ast.Call):
        inner = node.args[0] if ast.unparse(node.func) == "partial" else node.func
        return _function(Definition(value.module, inner))
    return value


def _found(module: str, name: str) -> Definition:
    found = find(module, name)
    if found is None:
        raise LookupError(f"There is no {name} in {module}.")
    return found


def _options(function: Definition) -> Iterator[str]:
    """Options of an attack in a recipe, with those defaults that are numbers or strings."""
    for parameter in parameters(function)[3:]:  # after model, images and masks
        if parameter.name in _NOT_OPTIONS:
            continue
        default = parameter.default
        value = constant(Definition(parameter.module, default)) if default is not None else None
        shown = f"{value:.4g}" if isinstance(value, float) else value
        yield parameter.name if value is None else f"{parameter.name}={shown}"


def _table(about: str, detail: str, attacks: list[AttackEntry]) -> Table:
    # Wrap instead of cutting off: a truncated web address is useless.
    table = Table("attack", Column(about, overflow="fold"), detail, box=SIMPLE_HEAD)
    for attack in attacks:
        table.add_row(*map(escape, attack))
    return table
