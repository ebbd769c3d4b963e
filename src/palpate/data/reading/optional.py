"""Optional dependencies that only some readers need."""

from importlib import import_module
from typing import Any

# Extra of this package that installs an optional dependency.
_EXTRA = {"nibabel": "volumes", "pydicom": "volumes", "datasets": "hf"}


def needed(package: str) -> Any:
    """Import an optional dependency.

    Raises:
        RuntimeError: If the package is not installed; names the extra that installs it.
    """
    try:
        return import_module(package)
    except ImportError as error:
        extra = _EXTRA[package.partition(".")[0]]
        raise RuntimeError(
            f"Expected {package.partition('.')[0]} to be installed, which is needed here, but: "
            f'{error}. Run: pip install "palpate[{extra}]"'
        ) from error
