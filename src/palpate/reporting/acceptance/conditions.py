"""Conditions of a run as criteria name them: ``clean``, ``pgd 2/255``, ``pgd l2 0.5``."""

import re
from collections.abc import Mapping, Sequence
from math import isclose
from typing import Any, NamedTuple

import pandas as pd

from palpate.errors import did_you_mean
from palpate.evaluation.results.rows import CLEAN
from palpate.reporting.labels import epsilon_label
from palpate.reporting.numbers.checked_rows import is_minimal

_NORMS = ("linf", "l2", "normalised")
_WORDS = re.compile(
    rf"(?P<attack>\S+)(?:\s+(?:at\s+)?(?:(?P<norm>{'|'.join(_NORMS)})\s+)?"
    r"(?P<radius>[\d.]+(?:e-?\d+)?)(?P<steps>\s*/\s*255)?)?",
    re.IGNORECASE,
)
_KEYS = ("attack", "norm", "epsilon", "epsilon_255")


class Condition(NamedTuple):
    """A condition that a run has; ``epsilon`` is in units of pixel value, 0 for no radius."""

    attack: str
    norm: str
    epsilon: float
    minimal: bool = False

    def __str__(self) -> str:
        if self.attack == CLEAN or self.minimal or not self.epsilon:
            return self.attack
        radius = epsilon_label(self.epsilon, self.norm)
        if self.norm == "linf":
            return f"{self.attack} {radius}"
        if self.norm in _NORMS:
            return f"{self.attack} {self.norm} {radius}"
        return f"{self.attack} {self.epsilon:g}"


class Wanted(NamedTuple):
    """What a criterion says of its condition; None for what it leaves out."""

    attack: str
    norm: str | None
    epsilon: float | None

    def fits(self, known: Condition) -> bool:
        """Whether a condition is the one meant."""
        return (
            self.attack == known.attack
            and self.norm in (None, known.norm)
            and (self.epsilon is None or isclose(self.epsilon, known.epsilon, rel_tol=1e-3))
        )


def wanted_condition(given: object) -> Wanted:
    """Read a condition: words such as ``pgd 2/255``, or a mapping.

    >>> wanted_condition("pgd at 2/255").attack, wanted_condition("clean").epsilon
    ('pgd', None)
    >>> wanted_condition({"attack": "pgd", "norm": "l2", "epsilon": 0.5})
    Wanted(attack='pgd', norm='l2', epsilon=0.5)

    Raises:
        ValueError: If it cannot be read.
    """
    if isinstance(given, Mapping):
        return _from_mapping(given)
    found = _WORDS.fullmatch(given.strip()) if isinstance(given, str) else None
    if found is None:
        raise ValueError(
            f"expected a condition such as 'clean', 'pgd 2/255' or 'pgd l2 0.5', got {given!r}"
        )
    norm = found["norm"].lower() if found["norm"] else None
    if found["radius"] is None:
        return Wanted(found["attack"], norm, None)
    if found["steps"] and norm not in (None, "linf"):
        raise ValueError(
            f"expected a radius in {norm} without /255, such as '{found['attack']} {norm} 0.5', "
            f"got {given!r}"
        )
    radius = float(found["radius"])
    return Wanted(found["attack"], norm, radius / 255 if found["steps"] else radius)


def find_condition(wanted: Wanted, known: Sequence[Condition]) -> Condition:
    """Find the condition that a criterion names.

    Raises:
        ValueError: If there is none, or several.
    """
    fitting = [condition for condition in known if wanted.fits(condition)]
    if len(fitting) == 1:
        return fitting[0]
    names = list(map(str, known))
    if fitting:
        raise ValueError(
            f"there are several conditions of {wanted.attack!r}: {_listed(fitting)}; name one"
        )
    alike = [condition for condition in known if condition.attack == wanted.attack]
    if alike:
        asked = _radius_of(wanted, alike[0])
        raise ValueError(f"{wanted.attack!r} was not run at {asked}; there is {_listed(alike)}")
    near = did_you_mean(wanted.attack, [condition.attack for condition in known])
    raise ValueError(f"there is no attack {wanted.attack!r}; there is {', '.join(names)}.{near}")


def conditions_in(rows: pd.DataFrame) -> list[Condition]:
    """The conditions of checked rows, in order."""
    found = dict.fromkeys(
        zip(rows["attack"], rows["norm"], rows["epsilon"], is_minimal(rows), strict=True)
    )
    return [Condition(str(a), str(n), float(e), bool(m)) for a, n, e, m in found]


def _from_mapping(given: Mapping[str, Any]) -> Wanted:
    for key in given:
        if key not in _KEYS:
            raise ValueError(
                f"there is no {key!r} in a condition; expected {', '.join(_KEYS)}."
                f"{did_you_mean(str(key), _KEYS)}"
            )
    if "attack" not in given or {"epsilon", "epsilon_255"} <= set(given):
        raise ValueError(
            "expected a condition with an attack, and with epsilon (pixel values from 0 to 1) or "
            f"epsilon_255 (steps of an 8-bit image), got {dict(given)}"
        )
    for key in ("epsilon", "epsilon_255"):
        if key in given and not _is_radius(given[key]):
            raise ValueError(f"expected a number above 0 as {key}, got {given[key]!r}")
    epsilon = given.get("epsilon")
    if "epsilon_255" in given:
        epsilon = given["epsilon_255"] / 255
    norm = given.get("norm")
    if norm is not None and norm not in _NORMS:
        raise ValueError(
            f"expected norm to be one of {', '.join(_NORMS)}, got {norm!r}."
            f"{did_you_mean(str(norm), _NORMS)}"
        )
    return Wanted(str(given["attack"]), norm, epsilon)


def _is_radius(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _radius_of(wanted: Wanted, near: Condition) -> str:
    """The radius asked for, in words, with a hint if the unit was forgotten."""
    norm = wanted.norm or near.norm
    if wanted.epsilon is None:
        return str(norm)
    if norm == "linf" and wanted.epsilon > 1:
        number = f"{wanted.epsilon:g}"
        return f"{number}, for radii are pixel values from 0 to 1 (write {number}/255)"
    radius = epsilon_label(wanted.epsilon, norm)
    return radius if norm == "linf" else f"{norm} {radius}"


def _listed(conditions: Sequence[Condition]) -> str:
    return ", ".join(map(str, conditions))
