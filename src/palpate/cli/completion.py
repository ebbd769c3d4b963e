"""Shell completion of commands, options and attack names, without importing their code."""

import ast
from collections.abc import Iterator, Sequence

from palpate.cli.commands import COMMANDS, subcommands, top_level
from palpate.cli.definitions import Definition, entries, find, parameters

_SCRIPT = """\
# bash completion of palpate; enable it with: eval "$(palpate completion)"
_palpate() {
    local IFS=$'\\n'
    COMPREPLY=($(palpate --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _palpate palpate
"""
_ATTACK_OPTIONS = ("--attacks", "--evaluate.attacks")


def completion() -> None:
    """Print the completion script for bash.

    Add `eval "$(palpate completion)"` to ~/.bashrc. In zsh run
    `autoload -U +X bashcompinit && bashcompinit` before it.
    """
    print(_SCRIPT, end="")


def candidates(words: Sequence[str]) -> list[str]:
    """List the completions of the last word of a command line.

    Args:
        words: What was typed after ``palpate``; the last word may be empty or unfinished.
    """
    *before, last = words or [""]
    return [found for found in _possible(before, last) if found.startswith(last)]


def _possible(before: Sequence[str], last: str) -> list[str]:
    if not before:
        return [*top_level(), "--help", "--version"]
    name = next((n for n in (" ".join(before[:2]), before[0]) if n in COMMANDS), "")
    if len(before) == 1 and not last.startswith("-") and (inner := subcommands(before[0])):
        return inner
    if last.startswith("-"):
        return ["--help", *_options(name)] if name else ["--help"]
    option = next((word for word in reversed(before) if word.startswith("--")), "")
    if option in _ATTACK_OPTIONS or name == "attacks check":
        return _attacks()
    return []  # bash then completes file names


def _attacks() -> list[str]:
    registries = (("palpate.attacks", "ATTACKS"), ("palpate.attacks.text", "TEXT_ATTACKS"))
    return [name for registry in registries for name in entries(*registry)]


def _options(name: str) -> list[str]:
    command = COMMANDS[name]
    module, _, thing = (command.recipe or command.function).partition(":")
    found = find(module, thing)
    options = list(_options_of(found)) if found else []
    if not command.recipe:
        return options
    return ["--config", "--json", "--help-all", *["--criteria"] * (name != "pretrain"), *options]


def _options_of(definition: Definition, prefix: str = "") -> Iterator[str]:
    """Options for the parameters of a function or the fields of a dataclass, including nested."""
    for parameter in parameters(definition):
        kind = parameter.annotation
        if kind is None or parameter.name.startswith("_") or _is_positional(kind):
            continue
        option = _renamed(parameter.module, kind) or parameter.name.replace("_", "-")
        nested = _dataclass(parameter.module, kind)
        if nested is None:
            yield f"--{prefix}{option}"
        else:
            yield from _options_of(nested, prefix if _is_unnamed(kind) else f"{prefix}{option}.")


def _renamed(module: str, annotation: ast.expr) -> str | None:
    """The name that ``tyro.conf.arg`` gives an option in its annotation, or in an alias for it."""
    alias = find(module, annotation.id) if isinstance(annotation, ast.Name) else None
    for node in ast.walk(alias.node if alias else annotation):
        for keyword in node.keywords if isinstance(node, ast.Call) else ():
            if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                return str(keyword.value.value) or None
    return None


def _dataclass(module: str, annotation: ast.expr) -> Definition | None:
    """The dataclass of palpate that an annotation names; None if it names something else."""
    for node in ast.walk(annotation):
        found = find(module, node.id) if isinstance(node, ast.Name) else None
        if found is not None and isinstance(found.node, ast.ClassDef):
            return found
    return None


def _is_positional(kind: ast.expr) -> bool:
    return "Positional" in ast.unparse(kind)


def _is_unnamed(kind: ast.expr) -> bool:
    return "name=''" in ast.unparse(kind)  # tyro.conf.arg(name="")
