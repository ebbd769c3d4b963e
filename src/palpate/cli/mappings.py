"""Parsing of command-line options that are mappings: names with values, and attacks by name."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias, get_args, get_origin

import tyro
import yaml
from tyro.constructors import PrimitiveConstructorSpec, PrimitiveTypeInfo

from palpate.errors import yaml_fault

# Options about the values of masks.
MaskWords: TypeAlias = Annotated[tuple[str, ...], tyro.conf.arg(name="mask.values")]
IgnoredWords: TypeAlias = Annotated[tuple[str, ...], tyro.conf.arg(name="mask.ignore")]

_OPTIONS = Mapping[str, Any]
_ATTACKS = Mapping[str, Mapping[str, Any]]


def values(options: Mapping[str, str] | None) -> dict[str, Any]:
    """Parse the values of command-line options, each as YAML.

    >>> values({"margin": "0.05", "out": "logits"})
    {'margin': 0.05, 'out': 'logits'}
    """
    return {name: _value(name, text) for name, text in (options or {}).items()}


def options(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """The rule for options given as ``NAME VALUE ...``; values are read as YAML."""
    return _spec("[NAME VALUE ...]", _pairs, _words) if _is(info, _OPTIONS) else None


def attacks(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """The rule for attacks given by name, or as in a recipe: ``"pgd: {steps: 10}"``."""
    return _spec("[NAME ...]", _named, list) if _is(info, _ATTACKS) else None


def _is(info: PrimitiveTypeInfo, kind: Any) -> bool:
    return get_origin(info.type) is get_origin(kind) and get_args(info.type) == get_args(kind)


def _spec(
    shown: str, read: Callable[[list[str]], Any], write: Callable[[Any], list[str]]
) -> PrimitiveConstructorSpec[Any]:
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=shown,
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, Mapping),
        str_from_instance=write,
    )


def _pairs(words: list[str]) -> dict[str, Any]:
    if len(words) % 2:
        raise ValueError(f"expected names, each with a value, got {' '.join(words)!r}")
    return values(dict(zip(words[::2], words[1::2], strict=True)))


def _words(given: Mapping[str, Any]) -> list[str]:
    pairs = ((name, yaml.safe_dump(value).split("\n")[0]) for name, value in given.items())
    return [word for pair in pairs for word in pair]


def _named(words: list[str]) -> dict[str, dict[str, Any]]:
    """Attacks with their options, which are empty for names alone.

    >>> _named(["noise", "mine.py:press", "{pgd: {steps: 5}, fgsm: }"])
    {'noise': {}, 'mine.py:press': {}, 'pgd': {'steps': 5}, 'fgsm': {}}
    """
    found: dict[str, dict[str, Any]] = {}
    for word in words:
        read = _value("attacks", word) if "{" in word or ": " in word else word
        entries = read if isinstance(read, Mapping) else {word: {}}
        for name, given in entries.items():
            if given is not None and not isinstance(given, Mapping):
                raise ValueError(
                    f"expected names of attacks, or their options as in a recipe "
                    f"('pgd: {{steps: 10}}'), got {word!r}"
                )
            found[str(name)] = dict(given or {})
    return found


def _value(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(
            f"Expected a value for option {name!r} that YAML can read, got {text!r}: "
            f"{yaml_fault(error)}."
        ) from error
