"""What a training step is fed, in an order that only the seed and the epoch decide."""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from palpate.data import PromptedDataset
from palpate.data.pool import PooledDataset
from palpate.randomness import generator

AnyData: TypeAlias = PromptedDataset | PooledDataset


class TrainingBatch(NamedTuple):
    """Inputs of the model (images, or features in their place), their prompts, and the truth."""

    inputs: Tensor
    prompts: tuple[str, ...]
    masks: Tensor


@runtime_checkable
class Epochs(Protocol):
    """Training data that can be drawn anew for every epoch."""

    def __len__(self) -> int: ...

    def with_epoch(self, epoch: int) -> Dataset[TrainingBatch]: ...


def loader(
    data: Epochs, epoch: int, batch_size: int, seed: int, workers: int = 0
) -> DataLoader[TrainingBatch]:
    """Shuffled batches of an epoch."""
    order = torch.randperm(len(data), generator=generator(seed, "order", epoch)).tolist()
    return DataLoader(
        data.with_epoch(epoch),
        batch_size=batch_size,
        sampler=order,
        collate_fn=stack,
        num_workers=workers,
    )


def stack(items: Sequence[TrainingBatch]) -> TrainingBatch:
    """Samples, each a batch of one without its first axis, to a batch."""
    return TrainingBatch(
        inputs=torch.stack([item.inputs for item in items]),
        prompts=tuple(item.prompts[0] for item in items),
        masks=torch.stack([item.masks for item in items]),
    )


def identity(*sets: AnyData) -> str:
    """A digest of all that decides which samples and prompts every epoch has."""
    digest = sha256()
    for data in sets:
        for part in data.parts if isinstance(data, PooledDataset) else (data,):
            drawn = part.with_epoch(0)
            digest.update(repr((part.policy, part.size, part.augmentation, drawn.cases)).encode())
    return digest.hexdigest()
