"""Nested settings by dotted names, so that two of them can be compared name by name."""

from collections.abc import Collection, Mapping
from typing import Any


def flat(
    values: Mapping[str, Any], prefix: str = "", *, whole: Collection[str] = ()
) -> dict[str, Any]:
    """Every value that is no mapping, by the names that lead to it.

    >>> flat({"model": {"size": 224, "options": {}}, "seed": 0}, whole=["model.options"])
    {'model.size': 224, 'model.options': {}, 'seed': 0}

    Args:
        values: By name.
        prefix: Of every name.
        whole: Names of mappings that stay as they are.
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name not in whole:
            found |= flat(value, f"{name}.", whole=whole)
        else:
            found[name] = value
    return found
