"""What a training step is fed, in an order that only the seed and the epoch decide."""

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
from palpate.data.sources.pool import PooledDataset
from palpate.randomness import generator
from palpate.types import Box

CPU = torch.device("cpu")

AnyData: TypeAlias = PromptedDataset | PooledDataset


class TrainingBatch(NamedTuple):
    """Inputs of the model (images, or features in their place), prompts, masks and boxes."""

    inputs: Tensor
    prompts: tuple[str, ...]
    masks: Tensor
    boxes: tuple[Box, ...] | None = None  # of the masks, for models that want them


@runtime_checkable
class Items(Protocol):
    """Training items by number, each a batch of one without its first axis."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> TrainingBatch: ...


@runtime_checkable
class Epochs(Protocol):
    """Training data that can be drawn anew for every epoch."""

    def __len__(self) -> int: ...

    def with_epoch(self, epoch: int) -> Items: ...


@final
@dataclass(frozen=True)
class Batches:
    """Batches of one pass over items, as often as it is gone over.

    Attributes:
        items: Where they are from.
        picks: Numbers of the items of each batch.
        workers: Threads that read ahead, see :func:`palpate.data.stream`.
        device: Where the batches go.
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
            yield batch._replace(inputs=inputs, masks=masks)


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
    """Batches of an epoch in the order that seed and epoch draw; of several processes, one's share.

    Every process has as many batches, all of one size: they go round to the first samples again.
    """
    order = torch.randperm(len(data), generator=generator(seed, "order", epoch)).tolist()
    sampler = BatchSampler(order, batch_size, drop_last=False)
    picks = BatchSamplerShard(sampler, processes, process) if processes > 1 else sampler
    return Batches(data.with_epoch(epoch), tuple(map(tuple, picks)), workers, device)


def in_order(
    items: Items, batch_size: int, workers: int = 0, device: torch.device = CPU
) -> Batches:
    """Batches that are not shuffled, for validation."""
    picks = BatchSampler(range(len(items)), batch_size, drop_last=False)
    return Batches(items, tuple(map(tuple, picks)), workers, device)


def stack(items: Sequence[TrainingBatch]) -> TrainingBatch:
    """Samples, each a batch of one without its first axis, to a batch."""
    boxes = [item.boxes[0] for item in items if item.boxes is not None]
    return TrainingBatch(
        inputs=torch.stack([item.inputs for item in items]),
        prompts=tuple(item.prompts[0] for item in items),
        masks=torch.stack([item.masks for item in items]),
        boxes=tuple(boxes) or None,
    )


def identity(*sets: AnyData) -> str:
    """A digest of all that decides which samples and prompts every epoch has."""
    digest = sha256()
    for data in sets:
        for part in data.parts if isinstance(data, PooledDataset) else (data,):
            drawn = part.with_epoch(0)
            digest.update(repr((part.policy, part.size, part.augmentation, drawn.cases)).encode())
    return digest.hexdigest()
