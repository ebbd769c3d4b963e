"""From words on the command line to a command: what cannot be understood is one sentence."""

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from functools import partial, wraps
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from palpate.cli import mappings

NULL = "null"  # as recipes and the documentation call it; tyro says None

_WRONG = 2  # exit status of a command line that cannot be understood
_BORDERS = "│╭╮╰╯"


class UsageError(ValueError):
    """A command line that cannot be understood."""


def parse(kind: Any, arguments: Sequence[str], *, prog: str, **settings: Any) -> Any:
    """What the words say, as an instance of ``kind``.

    Args:
        kind: A dataclass, a union of them, or a function as :func:`later` makes it.
        arguments: The words.
        prog: The command, as a user typed it.
        settings: Further ones of :func:`tyro.cli`.

    Raises:
        UsageError: If the words cannot be understood; says which and what to do.
        SystemExit: After ``--help``.
    """
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(kind, args=list(arguments), prog=prog, registry=_REGISTRY, **settings)
    except SystemExit as stopped:
        if stopped.code != _WRONG:
            raise
        raise UsageError(f"{_sentence(said.getvalue())} See `{prog} --help`.") from None


def later(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """The command as it is parsed first and carried out afterwards, when errors are its own."""

    @wraps(command)
    def remember(*positional: Any, **named: Any) -> Callable[[], None]:
        return partial(command, *positional, **named)

    return remember


def _sentence(box: str) -> str:
    """The text of tyro's box: what is wrong, without help texts, and the options it suggests.

    >>> print(_sentence(chr(10).join(["╭─ Error ─╮", "│ no such │", "│ thing   │", "╰─────────╯"])))
    No such thing.
    """
    paragraphs: list[list[str]] = [[]]
    for line in box.strip().splitlines()[1:]:  # the first is the title
        text = line.strip(_BORDERS).rstrip()
        if set(text.strip()) <= set(
            "─-"
        ):  # where a terminal knows only ASCII, there are no corners
            paragraphs.append([])
        else:
            paragraphs[-1].append(text)
    paragraphs = [some for some in paragraphs if some] or [[box]]
    said = " ".join(_without_help(paragraphs[0])).rstrip(".")
    hints = [f" Did you mean {o}?" for some in paragraphs[1:] if (o := _suggested(some))]
    return f"{said[:1].upper()}{said[1:]}.{''.join(hints[:1])}"


def _without_help(lines: Sequence[str]) -> list[str]:
    """What is said, and the options that are named; not what is indented below these."""
    depths = [len(line) - len(line.lstrip()) for line in lines]
    kept = zip(lines, depths, strict=True)
    return [
        line.strip() for line, depth in kept if depth == depths[0] or line.lstrip().startswith("--")
    ]


def _suggested(lines: Sequence[str]) -> str:
    """The options that the part of a box with suggestions names."""
    if not lines or not lines[0].strip().startswith("Perhaps you meant"):
        return ""
    named = [line.split()[0] for line in lines if line.lstrip().startswith("--")]
    return " or ".join(dict.fromkeys(named))


def _choice_or_null(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """A choice that may be left out: in the order in which it is declared, and ``null`` last."""
    if info.type_origin not in (Union, UnionType):
        return None
    parts = [part for part in get_args(info.type) if part is not NoneType]
    if len(parts) != 1 or get_origin(parts[0]) is not Literal:
        return None
    choices = (*get_args(parts[0]), NULL)
    if NoneType not in get_args(info.type) or not all(isinstance(c, str) for c in choices):
        return None

    def chosen(words: list[str]) -> str | None:
        if words[0] in (NULL, "None"):
            return None
        if words[0] not in choices:
            known = ", ".join(choices[:-1])
            raise ValueError(f"expected one of {known}, or {NULL} for none, got {words[0]!r}")
        return words[0]

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(choices)}}}",
        instance_from_str=chosen,
        is_instance=lambda value: value is None or value in choices,
        str_from_instance=lambda value: [NULL if value is None else value],
    )


_REGISTRY = ConstructorRegistry()
for rule in (_choice_or_null, mappings.options, mappings.attacks):
    _REGISTRY.primitive_rule(rule)
