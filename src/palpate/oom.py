"""Work that goes on in smaller portions where the accelerator's memory does not suffice.

What is computed must not depend on the portion it is computed in, so that running out of memory
costs time and changes nothing but rounding.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch

T = TypeVar("T")


class Portions:
    """Runs work on a batch in portions that fit, and remembers what did not fit."""

    def __init__(self, largest: int | None = None) -> None:
        self.largest = largest  # None: as many as there are

    def run(self, work: Callable[[list[int]], Iterable[T]], positions: Sequence[int]) -> list[T]:
        """Results of ``work`` on all positions, in order.

        ``work`` may be called again with fewer positions after it failed, so it must leave
        nothing behind when it fails.

        Raises:
            torch.cuda.OutOfMemoryError: If not even one image fits.
        """
        results: list[T] = []
        waiting = list(positions)
        while waiting:
            portion = waiting[: self.largest]
            done = self._attempt(work, portion)
            if done is not None:
                results += done
                waiting = waiting[len(portion) :]
        return results

    def _attempt(
        self, work: Callable[[list[int]], Iterable[T]], portion: list[int]
    ) -> list[T] | None:
        try:
            return list(work(portion))
        except torch.cuda.OutOfMemoryError as error:
            if len(portion) == 1:
                error.add_note("Not even one fits. Use smaller images or precision='bf16'.")
                raise
        # Only here, outside the handler, are the tensors of the failed attempt unreachable.
        torch.cuda.empty_cache()
        self.largest = len(portion) // 2
        return None
