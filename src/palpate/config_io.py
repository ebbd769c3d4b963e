"""YAML that a person wrote: what is said twice in it is a mistake, and not the last one's word."""

from typing import Any

import yaml

_MERGE = "<<"  # takes in another mapping; may come more than once


def load_yaml(text: str) -> Any:
    """Plain values of a YAML text.

    >>> load_yaml("{size: 224, levels: [p1, p2]}")
    {'size': 224, 'levels': ['p1', 'p2']}

    Raises:
        yaml.YAMLError: If it is no YAML, nested without end, or says a key twice in one mapping.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError as error:
        raise yaml.YAMLError("it is nested without end") from error


class _Loader(yaml.SafeLoader):
    """The safe loader, which would let the last of several keys win."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        said: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == _MERGE:
                continue
            if key.value in said:
                problem = f"{key.value!r} is there twice, in line {said[key.value]} already"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            said[key.value] = key.start_mark.line + 1
        return node
