"""Progress reports of long-running functions; the library itself prints nothing."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """A function that is called repeatedly while a stage runs."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Report the state of a stage.

        Args:
            stage: Name of the stage.
            done: Number of finished units, such as batches or epochs.
            total: Number of all units.
            note: Additional text, such as the current loss.
        """
        ...


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Report nothing; the default."""
