"""Running work on a batch in smaller portions if the accelerator runs out of memory.

The result for an item must not depend on the portion that it is computed in. Then running out of
memory costs time and changes results only by rounding.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch

T = TypeVar("T")


class Portions:
    """Runs work on a batch in portions that fit into memory, and remembers the size that fits.

    Args:
        largest: Size of the first portion, at least 1; None for the whole batch. It is halved
            whenever memory runs out.
    """

    def __init__(self, largest: int | None = None) -> None:
        self.largest = largest

    def run(self, work: Callable[[list[int]], Iterable[T]], positions: Sequence[int]) -> list[T]:
        """Run ``work`` on all positions and return the results in order.

        Args:
            work: Function from a list of positions to one result for each. If it runs out of
                memory it is called again with fewer positions, so it must have no side effects
                when it fails.
            positions: Positions in the batch.

        Raises:
            torch.cuda.OutOfMemoryError: If even a single item does not fit.
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
        # Outside the handler, because inside it the traceback keeps the failed tensors alive.
        torch.cuda.empty_cache()
        self.largest = len(portion) // 2
        return None
