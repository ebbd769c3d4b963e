"""Prefetching of samples in order, with decoding and resizing in background threads.

Threads are used instead of processes because decoding, resizing and array arithmetic release the
global interpreter lock, while sending a sample from another process costs more than reading it from
the cache and about as much as decoding it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Protocol, TypeVar, runtime_checkable

from palpate.data.sample import Sample

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)

_AHEAD = 8  # prefetched samples


@runtime_checkable
class Indexed(Protocol[Item_co]):
    """Any object with a length that returns items by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Item_co: ...


@runtime_checkable
class Samples(Protocol):
    """Any object with a length that returns samples by index, such as a data set or a list."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


def stream(
    data: Indexed[Item], indices: Iterable[int] | None = None, workers: int = 0, ahead: int = _AHEAD
) -> Iterator[Item]:
    """Iterate over samples in a given order, with optional prefetching.

    Args:
        data: The samples; with workers, several threads index it at the same time, which all data
            sets of palpate support.
        indices: Indices of the samples, in this order; by default all.
        workers: Number of prefetching threads; 0 reads each sample when it is requested.
        ahead: Largest number of prefetched samples; at least one per worker.

    Raises:
        ValueError: If ``workers`` is negative.
    """
    if workers < 0:
        raise ValueError(f"Expected workers >= 0, got {workers}.")
    wanted = range(len(data)) if indices is None else indices
    if workers == 0:
        return (data[index] for index in wanted)
    return _read_ahead(data, iter(wanted), workers, max(ahead, workers))


def _read_ahead(
    data: Indexed[Item], wanted: Iterator[int], workers: int, ahead: int
) -> Iterator[Item]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="palpate-read")
    try:
        waiting: deque[Future[Item]] = deque(
            pool.submit(data.__getitem__, index) for index in islice(wanted, ahead)
        )
        # A new sample is requested for each one returned, which bounds the memory.
        while waiting:
            sample = waiting.popleft().result()
            waiting.extend(pool.submit(data.__getitem__, index) for index in islice(wanted, 1))
            yield sample
    finally:
        # Also runs if the consumer stops early or a sample cannot be read.
        pool.shutdown(cancel_futures=True)
