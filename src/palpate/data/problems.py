"""Errors that report many problems of a data set at once."""

from collections.abc import Callable, Sequence

_SHOWN = 10


def refuse(
    problems: Sequence[str],
    summary: str,
    error: Callable[[str], Exception] = ValueError,
    remedy: str = "",
) -> None:
    """Raise one error that lists all problems; do nothing if there are none.

    Args:
        problems: One line per problem, which names the file or entry; the first ten are shown.
        summary: What was expected, without a full stop.
        error: Type of the error, or a function that makes it of its message.
        remedy: What to do, in one sentence.

    Raises:
        Exception: Made by ``error``, if there are problems.
    """
    if not problems:
        return
    lines = [f"  {problem}" for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"  and {len(problems) - _SHOWN} more")
    tail = [remedy] if remedy else []
    raise error("\n".join([f"{summary} ({len(problems)}):", *lines, *tail]))
