"""Training batches, in an order that depends only on the seed and the epoch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice
from typing import NamedTuple, Protocol, TypeAlias, final, runtime_checkable

import torch
from accelerate.data_loader import BatchSamplerShard
from torch import Tensor
from torch.utils.data import BatchSampler

from palpate.data import PromptedDataset, stream
from palpate.data.sample import stack_ignored
from palpate.data.sources.pool import PooledDataset
from palpate.randomness import generator
from palpate.types import Box

CPU = torch.device("cpu")

AnyData: TypeAlias = PromptedDataset | PooledDataset


class TrainingBatch(NamedTuple):
    """A batch: inputs (images or cached features), prompts, masks, boxes and ignored pixels."""

    inputs: Tensor
    prompts: tuple[str, ...]
    masks: Tensor
    boxes: tuple[Box, ...] | None = None  # bounding boxes of the masks, for models that need them
    ignored: Tensor | None = None  # pixels that count in no loss and no score


@runtime_checkable
class Items(Protocol):
    """Training samples by index; each is a batch of one whose tensors have no batch axis."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> TrainingBatch: ...


@runtime_checkable
class Epochs(Protocol):
    """Training data whose prompts and augmentation are sampled anew in every epoch."""

    def __len__(self) -> int: ...

    def with_epoch(self, epoch: int) -> Items: ...


@final
@dataclass(frozen=True)
class Batches:
    """The batches of one pass over the samples; can be iterated over several times.

    Attributes:
        items: The samples.
        picks: Indices of the samples in each batch.
        workers: Number of threads that prefetch samples, see :func:`palpate.data.stream`.
        device: Device to which inputs and masks are moved.
    """

    items: Items
    picks: tuple[tuple[int, ...], ...]
    workers: int = 0
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.picks)

    def __iter__(self) -> Iterator[TrainingBatch]:
        ahead = max(map(len, self.picks), default=1)
        read = stream(self.items, chain.from_iterable(self.picks), self.workers, ahead)
        for pick in self.picks:
            batch = stack(list(islice(read, len(pick))))
            inputs, masks = batch.inputs.to(self.device), batch.masks.to(self.device)
            ignored = None if batch.ignored is None else batch.ignored.to(self.device)
            yield batch._replace(inputs=inputs, masks=masks, ignored=ignored)


def shuffled(
    data: Epochs,
    epoch: int,
    batch_size: int,
    seed: int,
    *,
    workers: int = 0,
    device: torch.device = CPU,
    processes: int = 1,
    process: int = 0,
) -> Batches:
    """The shuffled batches of an epoch.

    With several processes, each gets its share: the same number of batches, all of the same size.
    If there are not enough samples, the first ones are used again.

    Args:
        data: Training data.
        epoch: Epoch, from 0.
        batch_size: Samples per batch.
        seed: Seed of the order, together with the epoch.
        workers: Number of threads that prefetch samples.
        device: Device to which inputs and masks are moved.
        processes: Number of processes.
        process: Index of this process, from 0.
    """
    order = torch.randperm(len(data), generator=generator(seed, "order", epoch)).tolist()
    sampler = BatchSampler(order, batch_size, drop_last=False)
    picks = BatchSamplerShard(sampler, processes, process) if processes > 1 else sampler
    return Batches(data.with_epoch(epoch), tuple(map(tuple, picks)), workers, device)


def in_order(
    items: Items, batch_size: int, workers: int = 0, device: torch.device = CPU
) -> Batches:
    """Batches in the order of the samples, for validation."""
    picks = BatchSampler(range(len(items)), batch_size, drop_last=False)
    return Batches(items, tuple(map(tuple, picks)), workers, device)


def stack(items: Sequence[TrainingBatch]) -> TrainingBatch:
    """Stack samples without a batch axis into a batch."""
    boxes = [item.boxes[0] for item in items if item.boxes is not None]
    masks = torch.stack([item.masks for item in items])
    ignored = stack_ignored([item.ignored for item in items], masks)
    return TrainingBatch(
        inputs=torch.stack([item.inputs for item in items]),
        prompts=tuple(item.prompts[0] for item in items),
        masks=masks if ignored is None else masks & ~ignored,
        boxes=tuple(boxes) or None,
        ignored=ignored,
    )


def identity(*sets: AnyData) -> str:
    """Hash everything that determines the samples and prompts of all epochs."""
    digest = sha256()
    for data in sets:
        for part in data.parts if isinstance(data, PooledDataset) else (data,):
            drawn = part.with_epoch(0)
            digest.update(repr((part.policy, part.size, part.augmentation, drawn.cases)).encode())
            digest.update(part.mask_rules.encode())
    return digest.hexdigest()
