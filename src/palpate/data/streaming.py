"""Samples in order, decoded and resized by worker processes ahead of whoever needs them."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Protocol, cast, runtime_checkable

import torch
from torch.utils.data import DataLoader, Dataset

from palpate.data.sample import Sample

_AT_A_TIME = 8  # samples that a worker sends; one by one, processes would mostly wait in turn


@runtime_checkable
class Samples(Protocol):
    """Anything with a length that gives samples by index: a dataset, a list."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


def stream(
    data: Samples, indices: Iterable[int] | None = None, workers: int = 0
) -> Iterator[Sample]:
    """Samples one by one, in the order asked for.

    Args:
        data: Gives the samples; must reach worker processes, as every data set of palpate does.
        indices: Which samples, in this order; by default all.
        workers: Processes that read ahead; 0 reads in this one when a sample is asked for.

    Raises:
        ValueError: If ``workers`` is negative.
    """
    if workers < 0:
        raise ValueError(f"Expected workers >= 0, got {workers}.")
    wanted = range(len(data)) if indices is None else indices
    if workers == 0:
        return (data[index] for index in wanted)
    loader: DataLoader[list[Sample]] = DataLoader(
        cast("Dataset[list[Sample]]", data),
        batch_size=_AT_A_TIME,
        sampler=list(wanted),
        collate_fn=list,
        num_workers=workers,
        # Else it would draw its seed from torch's global generator, and change what others draw.
        generator=torch.Generator(),
    )
    return chain.from_iterable(loader)
