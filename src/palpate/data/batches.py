"""Batches in order, whatever the sizes of the images."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Protocol, runtime_checkable

from palpate.data.sample import Batch, Sample, collate


@runtime_checkable
class Samples(Protocol):
    """Anything with a length that gives samples by index: a dataset, a list."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


def batches(
    data: Samples, batch_size: int, indices: Iterable[int] | None = None
) -> Iterator[Batch]:
    """Batches of consecutive samples; a new one starts where the size of the images changes.

    No more than one batch is held at a time.

    Args:
        data: Gives the samples.
        batch_size: The most samples in a batch.
        indices: Which samples, in this order; by default all.

    Raises:
        ValueError: If ``batch_size`` is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"Expected batch_size >= 1, got {batch_size}.")
    return _batches(data, batch_size, range(len(data)) if indices is None else indices)


def _batches(data: Samples, batch_size: int, indices: Iterable[int]) -> Iterator[Batch]:
    samples = (data[index] for index in indices)
    for _, alike in groupby(samples, key=lambda sample: sample.image.shape):
        held: list[Sample] = []
        for sample in alike:
            held.append(sample)
            if len(held) == batch_size:
                yield collate(held)
                held = []
        if held:
            yield collate(held)
