"""How long-running work tells whoever is watching where it stands; the library itself is silent."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Called from time to time with how much of a stage is done."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None: ...


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """The default: nobody is watching."""
