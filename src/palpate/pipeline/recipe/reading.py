"""Reading and writing recipes: YAML files whose settings are the fields of a dataclass."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from palpate.atomic import write_text
from palpate.config_io import load_yaml
from palpate.errors import did_you_mean, yaml_fault
from palpate.pipeline.recipe.config import BuildConfig, ModelConfig, RunConfig

Recipe = TypeVar("Recipe")


def read_config(path: Path) -> RunConfig:
    """Read the recipe of a run; see :func:`read_recipe`."""
    return read_recipe(path, RunConfig)


def read_recipe(path: Path, kind: type[Recipe]) -> Recipe:
    """Read a recipe from a YAML file.

    Args:
        path: The file.
        kind: Dataclass of the recipe.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not YAML, or settings are unknown or of the wrong type; all of them
            are listed.
    """
    return recipe_from(read_values(path), kind, str(path))


def read_values(path: Path) -> dict[str, Any]:
    """Read the plain values of a recipe without checking them.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a YAML mapping.
    """
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise FileNotFoundError(f"There is no recipe {path}; beside it: {', '.join(near) or '-'}.")
    try:
        values = load_yaml(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not readable YAML: {yaml_fault(error)}.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not readable YAML: Expected UTF-8, got {error}.") from error
    if not isinstance(values or {}, dict):
        raise ValueError(f"Expected settings in {path}, got {type(values).__name__}.")
    return values or {}


def config_from(values: Mapping[str, Any], source: str = "the configuration") -> RunConfig:
    """Create the configuration of a run from plain values; see :func:`recipe_from`."""
    return recipe_from(values, RunConfig, source)


def recipe_from(values: Mapping[str, Any], kind: type[Recipe], source: str) -> Recipe:
    """Create a recipe from plain values.

    Args:
        values: Settings, nested as in a recipe.
        kind: Dataclass of the recipe.
        source: Where the values come from, for error messages.

    Raises:
        ValueError: If settings are unknown or of the wrong type; all of them are listed.
    """
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        faults = "\n".join(f"  {_fault(fault)}" for fault in error.errors())
        raise ValueError(f"{source} cannot be used:\n{faults}") from None


def plain(config: RunConfig) -> dict[str, Any]:
    """Convert a configuration to plain values that YAML and JSON can store."""
    values: dict[str, Any] = TypeAdapter(RunConfig).dump_python(config, mode="json")
    return values


def write_config(config: RunConfig, path: Path) -> None:
    """Write the resolved configuration atomically; reading it gives the same run."""
    write_text(path, yaml.safe_dump(plain(config), sort_keys=False))


def _fault(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _names(asdict(_DEFAULT))
        return f"{where}: there is no such setting.{did_you_mean(str(fault['loc'][-1]), known)}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{where}: {message}, got {fault['input']!r:.80}" if where else message


def _names(values: Mapping[str, Any]) -> list[str]:
    found = list(values)
    for value in values.values():
        if isinstance(value, Mapping):
            found += _names(value)
    return found


_DEFAULT = RunConfig(model=ModelConfig(build=BuildConfig()))
