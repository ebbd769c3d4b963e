"""Batches of consecutive samples, also of images of different sizes."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from palpate.data.reading.prefetch import Samples, stream
from palpate.data.sample import Batch, Sample, collate


def batches(
    data: Samples, batch_size: int, indices: Iterable[int] | None = None, workers: int = 0
) -> Iterator[Batch]:
    """Iterate over batches of consecutive samples; a new batch starts where the image size changes.

    Holds at most one batch in memory and, with workers, about as many prefetched samples.

    Args:
        data: The samples.
        batch_size: Largest number of samples in a batch.
        indices: Indices of the samples, in this order; by default all.
        workers: Number of prefetching threads, see :func:`stream`.

    Yields:
        Batches of at most ``batch_size`` samples.

    Raises:
        ValueError: If ``batch_size`` is not positive, or ``workers`` negative.
    """
    if batch_size < 1:
        raise ValueError(f"Expected batch_size >= 1, got {batch_size}.")
    # The generator is a separate function, so that invalid arguments raise an error immediately.
    return _batches(stream(data, indices, workers, ahead=batch_size), batch_size)


def _batches(samples: Iterator[Sample], batch_size: int) -> Iterator[Batch]:
    for _, alike in groupby(samples, key=lambda sample: sample.image.shape):
        held: list[Sample] = []
        for sample in alike:
            held.append(sample)
            if len(held) == batch_size:
                yield collate(held)
                held = []
        if held:
            yield collate(held)
