"""Threat models from plain values, as written in a recipe."""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import TypeAlias

from palpate.attacks.threats.channels import Tied
from palpate.attacks.threats.constraint import Constraint
from palpate.attacks.threats.patterns import LowFrequency, Periodic
from palpate.attacks.threats.places import Border, Inside, Outside
from palpate.attacks.threats.threat import Threat

Within: TypeAlias = str | Mapping[str, object] | Constraint | Threat | Sequence[object]

ANYWHERE = "anywhere"
LATTICE = "lattice"

CONSTRAINTS: dict[str, Callable[..., Constraint]] = {
    "tied": Tied,
    "inside": Inside,
    "outside": Outside,
    "border": Border,
    "low_frequency": LowFrequency,
    "periodic": Periodic,
}


def threat_model(within: Within) -> Threat:
    """Build a threat model from a plain value.

    Accepts a name (``"tied"``), a name with its number (``{"border": 16}``), a
    :class:`Constraint`, or several of these in a list or one mapping, which then all apply:

    >>> threat_model(["tied", {"border": 16}, "lattice"])
    Threat(constraints=(Tied(), Border(width=16)), lattice=True)
    >>> threat_model({"low_frequency": 0.05, "tied": True}).constraints
    (LowFrequency(share=0.05), Tied())

    Names: ``anywhere`` (no constraint), ``tied``, ``inside``, ``outside``, ``border`` (width in
    pixels), ``low_frequency`` (fraction of the coefficients), ``periodic`` (side of the tile in
    pixels), ``lattice`` (multiples of 1/255).

    Args:
        within: The plain value. A :class:`Threat` is returned unchanged.

    Raises:
        ValueError: If a name is unknown, a number is missing or invalid, or the constraints
            cannot be combined.
    """
    if isinstance(within, Threat):
        return within
    parts = list(_parts(within))
    constraints = tuple(part for part in parts if isinstance(part, Constraint))
    if {Inside, Outside} <= {type(each) for each in constraints}:
        raise ValueError("Expected 'inside' or 'outside', got both, which leaves no pixel free.")
    return Threat(constraints, LATTICE in parts)


def _parts(within: object) -> Sequence[object]:
    """List the constraints in a plain value, and ``LATTICE`` if it is named there."""
    if isinstance(within, Constraint):
        return [within]
    if isinstance(within, str):
        return _named(within, True)
    if isinstance(within, Mapping):
        return [part for name, value in within.items() for part in _named(name, value)]
    if isinstance(within, Sequence):
        return [part for each in within for part in _parts(each)]
    raise ValueError(f"Expected a threat model's name, mapping or list, got {within!r}.")


def _named(name: object, value: object) -> Sequence[object]:
    known = (ANYWHERE, *CONSTRAINTS, LATTICE)
    if name not in known:
        raise ValueError(f"There is no threat model {name!r}; expected some of {', '.join(known)}.")
    # A constraint with a parameter needs a number. The others take true or false, as in a recipe's
    # ``tied: false``, which leaves the constraint out.
    make = CONSTRAINTS.get(str(name))
    if make is not None and signature(make).parameters:
        if isinstance(value, bool):
            raise ValueError(f"Expected a number with threat model {name!r}, as in {{{name}: 16}}.")
        return [make(value)]
    if not isinstance(value, bool):
        raise ValueError(f"Expected threat model {name!r} without a number, got {value!r}.")
    if not value or name == ANYWHERE:
        return []
    return [make() if make else LATTICE]
