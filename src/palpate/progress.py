"""How long-running functions report their progress; the library itself prints nothing."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """A function that is called now and then while a stage runs."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Report the state of a stage.

        Args:
            stage: Name of the stage.
            done: Units finished, such as batches or epochs.
            total: Units in all.
            note: Further text, such as the current loss.
        """
        ...


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Report nothing; the default."""
