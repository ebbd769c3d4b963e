"""What an error can say besides: a name that was probably meant, a place in a file."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A question to end an error with, or nothing if no name is near.

    >>> did_you_mean("kvasr", ["kvasir", "isic"])
    " Did you mean 'kvasir'?"
    >>> did_you_mean("knee", ["kvasir", "isic"])
    ''
    """
    near = get_close_matches(given.lower(), list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def yaml_fault(error: Exception) -> str:
    """What is wrong with YAML and in which line, without the name that its text has not.

    >>> from yaml import YAMLError, safe_load
    >>> try:
    ...     safe_load("name: [a, b")
    ... except YAMLError as error:
    ...     print(yaml_fault(error))
    line 1, column 12: expected ',' or ']', but got '<stream end>'
    """
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    if problem is None or mark is None:
        return " ".join(str(error).replace(' in "<unicode string>"', " in").split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
