"""What a training step is fed, in an order that only the seed and the epoch decide."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from palpate.randomness import generator


class TrainingBatch(NamedTuple):
    """Inputs of the model (images, or features in their place), their prompts, and the truth."""

    inputs: Tensor
    prompts: tuple[str, ...]
    masks: Tensor


class Epochs(Protocol):
    """Training data that can be drawn anew for every epoch."""

    def __len__(self) -> int: ...

    def with_epoch(self, epoch: int) -> "Dataset[TrainingBatch]": ...


def loader(
    data: Dataset[TrainingBatch], size: int, batch_size: int, seed: int, epoch: int, workers: int
) -> DataLoader[TrainingBatch]:
    """Shuffled batches of an epoch; ``data`` has ``size`` samples."""
    order = torch.randperm(size, generator=generator(seed, "order", epoch)).tolist()
    return DataLoader(
        data, batch_size=batch_size, sampler=order, collate_fn=stack, num_workers=workers
    )


def stack(items: Sequence[TrainingBatch]) -> TrainingBatch:
    """Samples, each a batch of one without its first axis, to a batch."""
    return TrainingBatch(
        inputs=torch.stack([item.inputs for item in items]),
        prompts=tuple(item.prompts[0] for item in items),
        masks=torch.stack([item.masks for item in items]),
    )
