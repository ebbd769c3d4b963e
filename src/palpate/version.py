"""The version of palpate, which is written beside every result."""

from importlib.metadata import PackageNotFoundError, version


def release() -> str:
    """Version of the installed package; ``not installed`` when run from a source folder."""
    try:
        return version("palpate")
    except PackageNotFoundError:
        return "not installed"
