"""Packages that only some readers need."""

from importlib import import_module
from typing import Any

_EXTRA = {"nibabel": "volumes", "pydicom": "volumes", "datasets": "hf"}


def needed(package: str) -> Any:
    """A package that does not come with palpate by itself.

    Raises:
        RuntimeError: If it is not installed; says which extra brings it.
    """
    try:
        return import_module(package)
    except ImportError as error:
        extra = _EXTRA[package.partition(".")[0]]
        raise RuntimeError(
            f"Expected {package.partition('.')[0]} to be installed, which is needed here, but: "
            f'{error}. Run: pip install "palpate[{extra}]"'
        ) from error
