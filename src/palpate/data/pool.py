"""Several data sets as one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

from torch.utils.data import Dataset

from palpate.data.augment import Augmentation
from palpate.data.dataset import PromptedDataset
from palpate.data.sample import Case, Sample


@final
@dataclass(frozen=True, eq=False)
class PooledDataset(Dataset[Sample]):
    """The samples of all parts, one part after the other."""

    parts: tuple[PromptedDataset, ...]

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """What is known about each sample, in order."""
        return tuple(case for part in self.parts for case in part.cases)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: int) -> Sample:
        for part in self.parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError("Sample number out of range.")

    def with_epoch(self, epoch: int) -> "PooledDataset":
        """The same data with whatever is random drawn anew for this epoch."""
        return replace(self, parts=tuple(part.with_epoch(epoch) for part in self.parts))

    def augmented(self, augmentation: Augmentation | None) -> "PooledDataset":
        """The same data seen through ``augmentation``, for training."""
        return replace(self, parts=tuple(part.augmented(augmentation) for part in self.parts))


def pool(parts: Sequence[PromptedDataset]) -> PromptedDataset | PooledDataset:
    """One data set of several; a single one stays what it is."""
    return parts[0] if len(parts) == 1 else PooledDataset(tuple(parts))
