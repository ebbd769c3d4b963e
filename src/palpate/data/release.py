"""Which palpate made a file."""

from importlib.metadata import PackageNotFoundError, version


def release() -> str:
    """The version of the package that runs."""
    try:
        return version("palpate")
    except PackageNotFoundError:  # run from its source, without being installed
        return "not installed"
