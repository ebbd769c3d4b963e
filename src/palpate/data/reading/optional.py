"""Optional dependencies that only some readers need."""

from importlib import import_module
from typing import Any


def needed(package: str) -> Any:
    """Import an optional dependency.

    Raises:
        RuntimeError: If the package is not installed; names the package and how to install it.
    """
    try:
        return import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        # The package itself and not an extra of palpate, which no package index has yet.
        raise RuntimeError(
            f"Expected {name} to be installed, which is needed here, but: {error}. Run: "
            f"pip install {name}"
        ) from error
