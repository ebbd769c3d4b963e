"""Suggestions for error messages: the name that was probably meant, the place in a file."""

from collections.abc import Iterable


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A question to end an error message with, or an empty text if no known name is close.

    >>> did_you_mean("kvasr", ["kvasir", "isic"])
    " Did you mean 'kvasir'?"
    >>> did_you_mean("pdg", ["pdpgd", "pgd"])
    " Did you mean 'pgd'?"
    >>> did_you_mean("knee", ["kvasir", "isic"])
    ''
    """
    from difflib import get_close_matches  # not needed until something goes wrong

    names = {name.lower(): name for name in known}
    letters = sorted(given.lower())
    # Letters in the wrong order first: difflib finds `pdpgd` closer to `pdg` than `pgd` is.
    same_letters = [name for name in names if sorted(name) == letters]
    close = same_letters or get_close_matches(given.lower(), list(names), n=1)
    return f" Did you mean {names[close[0]]!r}?" if close else ""


def yaml_fault(error: Exception) -> str:
    """What is wrong with a YAML text and in which line, without the placeholder for a file name.

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
