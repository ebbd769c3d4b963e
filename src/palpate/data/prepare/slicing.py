"""Rules for the choice of slices of a volume."""

import re
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from palpate.errors import did_you_mean

Areas = NDArray[np.integer]  # foreground pixels of each slice

_NAMED: Mapping[str, Callable[[Areas], list[int]]] = {
    "largest": lambda areas: [int(areas.argmax())] if areas.any() else [],
    "middle": lambda areas: _middle(_with_foreground(areas)),
    "all": lambda areas: _with_foreground(areas),
}


def chosen(rule: str, areas: Areas) -> list[int]:
    """Indices of the slices that a rule chooses.

    >>> areas = np.array([0, 1, 9, 8, 1, 0])
    >>> [chosen(rule, areas) for rule in ("largest", "middle", "all", "every-2", "index-0")]
    [[2], [3], [1, 2, 3, 4], [1, 3], [0]]

    Args:
        rule: ``largest``, ``middle``, ``all``, ``every-N`` or ``index-N``; all except the last
            choose slices with foreground only.
        areas: Number of foreground pixels in each slice.

    Raises:
        ValueError: If the rule is unknown, or the slice does not exist.
    """
    check_rule(rule)
    if rule in _NAMED:
        return _NAMED[rule](areas)
    kind, number = _numbered(rule)
    if kind == "every":
        return _with_foreground(areas)[::number]
    if number >= len(areas):
        raise ValueError(f"expected a slice among 0 to {len(areas) - 1}, got {rule!r}")
    return [number]


def check_rule(rule: str) -> None:
    """Raise an error for an unknown rule.

    Raises:
        ValueError: If there is no such rule.
    """
    kind, number = _numbered(rule)
    if rule in _NAMED or kind == "index" or (kind == "every" and number > 0):
        return
    known = (*_NAMED, "every-2", "index-0")
    raise ValueError(
        f"Expected slices to be {', '.join(_NAMED)}, every-N or index-N, got {rule!r}."
        f"{did_you_mean(rule, known)}"
    )


def _numbered(rule: str) -> tuple[str, int]:
    found = re.fullmatch(r"(every|index)-(\d{1,6})", rule)
    return (found[1], int(found[2])) if found else ("", 0)


def _with_foreground(areas: Areas) -> list[int]:
    return [int(number) for number in np.flatnonzero(areas)]


def _middle(numbers: list[int]) -> list[int]:
    return numbers[len(numbers) // 2 :][:1]
