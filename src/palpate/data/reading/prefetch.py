"""Samples in order, decoded and resized by threads ahead of whoever needs them.

Threads and not processes: what takes long (decoding, resizing, arithmetic) releases the
interpreter's lock, and a sample that was read need not be sent anywhere. To send one from another
process costs more than to take it from the cache, and about as much as to decode it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Protocol, TypeVar, runtime_checkable

from palpate.data.sample import Sample

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)

_AHEAD = 8  # samples that are read before they are asked for


@runtime_checkable
class Indexed(Protocol[Item_co]):
    """Anything with a length that gives items by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Item_co: ...


@runtime_checkable
class Samples(Protocol):
    """Anything with a length that gives samples by index: a dataset, a list."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


def stream(
    data: Indexed[Item], indices: Iterable[int] | None = None, workers: int = 0, ahead: int = _AHEAD
) -> Iterator[Item]:
    """Samples one by one, in the order asked for.

    Args:
        data: Gives the samples; several threads ask it at once where there are workers, which
            every data set of palpate allows.
        indices: Which samples, in this order; by default all.
        workers: Threads that read ahead; 0 reads when a sample is asked for, and not before.
        ahead: The most samples that are read before they are asked for; at least one a worker.

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
        while waiting:
            sample = waiting.popleft().result()
            waiting.extend(pool.submit(data.__getitem__, index) for index in islice(wanted, 1))
            yield sample
    finally:
        # Also where the one who asked has had enough, or a sample could not be read.
        pool.shutdown(cancel_futures=True)
