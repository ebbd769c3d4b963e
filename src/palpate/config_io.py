"""Configuration as nested values: read from YAML strictly, and flattened to dotted names."""

from collections.abc import Collection, Mapping
from typing import Any

import yaml

_MERGE = "<<"  # takes in another mapping; may come more than once


def load_yaml(text: str) -> Any:
    """Plain values of a YAML text in which no mapping has the same key twice.

    >>> load_yaml("{size: 224, levels: [p1, p2]}")
    {'size': 224, 'levels': ['p1', 'p2']}

    Raises:
        yaml.YAMLError: If the text is not YAML, a mapping has a key twice, or mappings and lists
            are nested too deeply to be read.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which silently keeps the last of several equal keys."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == _MERGE:
                continue
            if key.value in lines:
                problem = f"{key.value!r} appears twice, first in line {lines[key.value]}"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        return node


def flat(
    values: Mapping[str, Any], prefix: str = "", *, whole: Collection[str] = ()
) -> dict[str, Any]:
    """Nested values by dotted names, so that two configurations can be compared name by name.

    >>> flat({"model": {"size": 224, "options": {}}, "seed": 0}, whole=["model.options"])
    {'model.size': 224, 'model.options': {}, 'seed': 0}

    Args:
        values: Nested mappings.
        prefix: Put in front of every name.
        whole: Dotted names of mappings that are not flattened.
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name not in whole:
            found |= flat(value, f"{name}.", whole=whole)
        else:
            found[name] = value
    return found
