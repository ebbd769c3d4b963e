"""Pools: several data sets as one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import final

from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import Dataset

from palpate.data.augment import Augmentation
from palpate.data.dataset import (
    DatasetSpec,
    Entry,
    PromptedDataset,
    describe,
    describe_entry,
    ignored_pixels,
)
from palpate.data.patients import patient_or_name
from palpate.data.prompt_policy import Texts
from palpate.data.sample import Case, Sample
from palpate.data.sources.registry import always


def merge(parts: Sequence[PromptedDataset], name: str) -> PromptedDataset:
    """Combine data sets of one split, size and policy; every case keeps the name of its data set.

    Keys are not changed, so that results can be paired with those of a single data set. Therefore a
    case is identified by data set, split and key together.

    Args:
        parts: At least one data set, none of them augmented.
        name: Name of the pool.

    Returns:
        One data set with the entries of all parts, in their order.
    """
    first = parts[0]
    mirrors = all(part.spec.mirrors for part in parts)
    redraw = partial(_redrawn, tuple(parts)) if any(part.redraw for part in parts) else None
    return PromptedDataset(
        DatasetSpec(name, "", partial(always, ""), patient_or_name, mirrors=mirrors),
        first.split,
        tuple(entry for part in parts for entry in _members(part)),
        first.policy,
        first.size,
        redraw=redraw,
    )


@final
@dataclass(frozen=True, eq=False)
class PooledDataset(Dataset[Sample]):
    """Concatenation of data sets.

    Attributes:
        parts: The data sets, in order.
    """

    parts: tuple[PromptedDataset, ...]

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """Metadata of each sample, in order."""
        return tuple(case for part in self.parts for case in part.cases)

    @property
    def mask_rules(self) -> str:
        """How values of mask files are read, as text; empty if all masks are binary."""
        return "; ".join(part.mask_rules for part in self.parts if part.mask_rules)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __repr__(self) -> str:
        first = self.parts[0]
        return describe(self, "+".join(p.spec.name for p in self.parts), first.split, first.size)

    def __getitem__(self, index: int) -> Sample:
        if index < 0:
            index += len(self)
        if index < 0:
            raise IndexError("Sample number out of range.")
        for part in self.parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError("Sample number out of range.")

    def with_epoch(self, epoch: int) -> "PooledDataset":
        """A copy whose random choices are those of this epoch."""
        return replace(self, parts=tuple(part.with_epoch(epoch) for part in self.parts))

    def augmented(self, augmentation: Augmentation | None) -> "PooledDataset":
        """A copy with this augmentation, for training."""
        return replace(self, parts=tuple(part.augmented(augmentation) for part in self.parts))


def pool(parts: Sequence[PromptedDataset]) -> PromptedDataset | PooledDataset:
    """Concatenate data sets; a single one is returned unchanged."""
    return parts[0] if len(parts) == 1 else PooledDataset(tuple(parts))


@final
@dataclass(frozen=True)
class _Member:
    """An entry with its data set, structure and group."""

    entry: Entry
    dataset: str
    structure: str
    group: str

    def __repr__(self) -> str:
        return describe_entry(self.entry)

    @property
    def image_name(self) -> str:
        return self.entry.image_name

    @property
    def mask_name(self) -> str:
        return self.entry.mask_name

    @property
    def key(self) -> str:
        return self.entry.key

    @property
    def prompts(self) -> Texts:
        return self.entry.prompts

    @property
    def rule(self) -> str:
        return str(getattr(self.entry, "rule", ""))

    def read(self, size: int | None) -> tuple[Float[Tensor, "3 h w"], Bool[Tensor, "1 h w"]]:
        return self.entry.read(size)

    def read_ignored(self, size: int | None) -> Bool[Tensor, "1 h w"] | None:
        return ignored_pixels(self.entry, size)

    def read_soft_mask(self, size: int | None) -> Float[Tensor, "1 h w"]:
        read = getattr(self.entry, "read_soft_mask", None)
        soft: Tensor = self.entry.read(size)[1].float() if read is None else read(size)
        return soft


def _members(part: PromptedDataset) -> tuple[_Member, ...]:
    """Entries of a part with its metadata, since the pool has no single ``spec`` to derive it."""
    spec = part.spec
    return tuple(
        _Member(
            entry,
            getattr(entry, "dataset", None) or spec.name,
            getattr(entry, "structure", None) or spec.structure(entry.mask_name),
            getattr(entry, "group", None) or spec.group(entry.image_name),
        )
        for entry in part.entries
    )


def _redrawn(parts: tuple[PromptedDataset, ...], epoch: int) -> tuple[Entry, ...]:
    return tuple(entry for part in parts for entry in _members(part.with_epoch(epoch)))
