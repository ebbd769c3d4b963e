"""What a mistyped name was probably meant to be."""

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
