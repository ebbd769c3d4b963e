"""Parsing of command lines with tyro; its errors become one sentence each."""

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from functools import partial, wraps
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from palpate.cli import mappings
from palpate.cli.commands import UsageError
from palpate.cli.json_output import with_file
from palpate.grey_levels import grey_levels

NULL = "null"  # the word for None on the command line, as in YAML; tyro's own word is None

_USAGE_ERROR = 2  # exit status of tyro
_BORDERS = "│╭╮╰╯"


def parse(kind: Any, arguments: Sequence[str], *, prog: str, **settings: Any) -> Any:
    """Parse the words of a command line.

    Args:
        kind: A dataclass, or a function made by :func:`deferred`.
        arguments: The words after the command.
        prog: The command, as the user typed it.
        settings: Further arguments of :func:`tyro.cli`.

    Returns:
        An instance of the dataclass, or the return value of the function.

    Raises:
        UsageError: If the words cannot be parsed; the message names them and says what to do.
        SystemExit: After ``--help``.
    """
    captured = io.StringIO()
    try:
        with redirect_stderr(captured):
            words = with_file(_with_radii(arguments))
            return tyro.cli(kind, args=words, prog=prog, registry=_REGISTRY, **settings)
    except SystemExit as stopped:
        if stopped.code != _USAGE_ERROR:
            raise
        raise UsageError(f"{_sentence(captured.getvalue())} See `{prog} --help`.") from None


def _with_radii(words: Sequence[str]) -> list[str]:
    """Replace radii such as ``8/255`` behind ``--epsilon-255`` by the number of steps.

    >>> _with_radii(["--evaluate.epsilon-255", "1", "8/255", "--seed", "1"])
    ['--evaluate.epsilon-255', '1.0', '8.0', '--seed', '1']

    Raises:
        UsageError: If one cannot be meant.
    """
    found, option = [], ""
    for word in words:
        if word.startswith("--"):
            option, _, value = word.partition("=")
            found.append(f"{option}={_steps(option, value)}" if value else word)
        else:
            found.append(_steps(option, word))
    return found


def _steps(option: str, word: str) -> str:
    if not option.replace("_", "-").endswith("epsilon-255") or not word[:1].isdigit():
        return word
    try:
        return str(grey_levels(word))
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def deferred(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """Wrap a command so that it returns a call to run later instead of running at once.

    Otherwise tyro would report errors raised by the command as errors of the command line.
    """

    @wraps(command)
    def remember(*positional: Any, **named: Any) -> Callable[[], None]:
        return partial(command, *positional, **named)

    return remember


def _sentence(box: str) -> str:
    """Extract one sentence from tyro's error box: the error and suggested options, without help.

    >>> print(_sentence(chr(10).join(["╭─ Error ─╮", "│ no such │", "│ thing   │", "╰─────────╯"])))
    No such thing.
    """
    paragraphs: list[list[str]] = [[]]
    for line in box.strip().splitlines()[1:]:  # the first is the title
        text = line.strip(_BORDERS).rstrip()
        if set(text.strip()) <= set("─-"):  # a rule; in ASCII it has no corners
            paragraphs.append([])
        else:
            paragraphs[-1].append(text)
    paragraphs = [some for some in paragraphs if some] or [[box]]
    error = " ".join(_without_help(paragraphs[0])).rstrip(".")
    hints = [f" Did you mean {o}?" for some in paragraphs[1:] if (o := _suggested(some))]
    end = "" if error.endswith(("?", "!")) else "."
    return f"{error[:1].upper()}{error[1:]}{end}{''.join(hints[:1])}"


def _without_help(lines: Sequence[str]) -> list[str]:
    """The message and the options it names, without the help text that is indented below them."""
    depths = [len(line) - len(line.lstrip()) for line in lines]
    kept = zip(lines, depths, strict=True)
    return [
        line.strip() for line, depth in kept if depth == depths[0] or line.lstrip().startswith("--")
    ]


def _suggested(lines: Sequence[str]) -> str:
    """Names of the options in the part of a box that has suggestions."""
    if not lines or not lines[0].strip().startswith("Perhaps you meant"):
        return ""
    named = [line.split()[0] for line in lines if line.lstrip().startswith("--")]
    return " or ".join(dict.fromkeys(named))


def _choice_or_null(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """The rule for ``Literal[...] | None``: the declared choices, and ``null`` last."""
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
