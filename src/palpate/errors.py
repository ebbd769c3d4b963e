"""Error messages: the name that was probably meant, the runs in a folder, the place in a file."""

from collections.abc import Iterable, Sequence
from pathlib import Path


class SeveralRunsError(FileNotFoundError):
    """A folder holds runs and is none itself.

    Attributes:
        folder: The folder, as it was named.
        runs: The run folders in it.
    """

    def __init__(self, folder: Path, runs: Sequence[Path]) -> None:
        names = ", ".join(run.name for run in runs)
        super().__init__(
            f"{folder} is not a run folder, but holds {len(runs)}: {names}. Name one of them."
        )
        self.folder, self.runs = folder, tuple(runs)


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
