"""The data set class: images with masks and prompts, from any source."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, final, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import Dataset

from palpate.data.augment import Augmentation, augment
from palpate.data.prompt_policy import ALL, PromptPolicy, Texts
from palpate.data.sample import Case, Sample
from palpate.randomness import generator


@dataclass(frozen=True)
class DatasetSpec:
    """Properties of a data set that its files do not tell.

    Attributes:
        name: Name under which the data set is loaded.
        folder: Its folder below the root; empty for the root itself.
        structure: Maps the name of a mask file to the structure that it outlines.
        group: Maps the name of an image to its group (patient), which splits and bootstraps keep
            together.
        reference: Citation.
        mirrors: Whether a mirrored image is still valid; False for the heart, for example.
    """

    name: str
    folder: str
    structure: Callable[[str], str]
    group: Callable[[str], str]
    reference: str = ""
    mirrors: bool = True


@runtime_checkable
class Entry(Protocol):
    """One image with one mask and its prompts: files, or a phantom to be drawn."""

    @property
    def image_name(self) -> str:
        """Unique to the image within its data set and split."""
        ...

    @property
    def mask_name(self) -> str:
        """Unique to the mask."""
        ...

    @property
    def key(self) -> str:
        """Identifier of the entry in every results table."""
        ...

    @property
    def prompts(self) -> Texts:
        """Texts by level; a level may have several phrasings."""
        ...

    def read(self, size: int | None) -> tuple[Float[Tensor, "3 h w"], Bool[Tensor, "1 h w"]]:
        """The image in [0, 1] and its mask, square if ``size`` is given."""
        ...


def describe(
    data: Dataset[Sample], name: str, split: str, size: int | None, *, shown: int = 4
) -> str:
    """Name, split and counts of a data set in one line, for ``repr``; reads no image.

    Args:
        data: Has ``cases``.
        name: Of the data set.
        split: Of its samples.
        size: Side of its images in pixels; None if each keeps its own.
        shown: How many structures are listed by name.
    """
    cases: tuple[Case, ...] = data.cases  # type: ignore[attr-defined]
    structures = list(dict.fromkeys(case.structure for case in cases))
    listed = ", ".join(structures[:shown]) + (", ..." if len(structures) > shown else "")
    images = len({(case.dataset, case.image_name) for case in cases})
    groups = len({(case.dataset, case.group) for case in cases})
    pixels = "own size" if size is None else f"{size} x {size} pixels"
    return (
        f"<{type(data).__name__} {name!r}, split {split!r}: {len(cases)} samples of {images} "
        f"images and {groups} patients or groups, {pixels}; structures: {listed or 'none'}>"
    )


def describe_entry(entry: "Entry") -> str:
    """Type, key and prompt levels of an entry in one line, for ``repr``."""
    return f"<{type(entry).__name__.strip('_')} {entry.key!r}, prompts: {', '.join(entry.prompts)}>"


@final
@dataclass(frozen=True, eq=False)
class PromptedDataset(Dataset[Sample]):
    """Samples of one split; made by :func:`palpate.data.load_data`.

    Images are read or drawn when a sample is indexed; ``cases`` has the metadata without that.

    Attributes:
        spec: Properties of the data set.
        split: ``train``, ``val`` or ``test``.
        entries: What the annotations list, or the generator of phantoms draws.
        policy: Chooses the prompts; its seed is that of the augmentation too.
        size: Side of the square that samples are resized to, in pixels; None keeps their own.
        epoch: Epoch that random choices are drawn for; None outside training.
        augmentation: Applied to every sample after resizing; None in evaluation.
        redraw: Gives the entries of an epoch, if every epoch has new ones; their number is fixed.
    """

    spec: DatasetSpec
    split: str
    entries: tuple[Entry, ...]
    policy: PromptPolicy
    size: int | None = None
    epoch: int | None = None
    augmentation: Augmentation | None = None
    redraw: Callable[[int], tuple[Entry, ...]] | None = None

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """Metadata of each sample, in order; prompts as they are before augmentation."""
        return tuple(case for _, case in self._items)

    @cached_property
    def texts(self) -> tuple[Texts, ...]:
        """All texts of each sample by level; its prompt is one of them, unless overridden."""
        return tuple(entry.prompts for entry, _ in self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return describe(self, self.spec.name, self.split, self.size)

    def __getitem__(self, index: int) -> Sample:
        entry, case = self._items[index]
        image, mask = entry.read(self.size)
        if self.augmentation is None:
            return Sample(case, image, mask)
        source = generator(self.policy.seed, "augmentation", *self._draw, case.key)
        image, mask, prompt = augment(image, mask, case.prompt, self.augmentation, source)
        return Sample(replace(case, prompt=prompt), image, mask)

    def soft_mask(self, index: int) -> Float[Tensor, "1 h w"]:
        """The mask of a sample with the grey values of its file; 0 and 1 for phantoms."""
        entry, _ = self._items[index]
        read = getattr(entry, "read_soft_mask", None)
        soft: Tensor = self[index].mask.float() if read is None else read(self.size)
        return soft

    def with_epoch(self, epoch: int) -> "PromptedDataset":
        """The same data with random choices (prompts, augmentation) drawn for this epoch."""
        entries = self.entries if self.redraw is None else self.redraw(epoch)
        return replace(self, epoch=epoch, entries=entries)

    def augmented(self, augmentation: Augmentation | None) -> "PromptedDataset":
        """The same data with this augmentation, for training."""
        return replace(self, augmentation=augmentation)

    @property
    def _draw(self) -> tuple[int, ...]:
        return () if self.epoch is None else (self.epoch,)

    @cached_property
    def _items(self) -> tuple[tuple[Entry, Case], ...]:
        return tuple((e, case) for e in self.entries for case in self._cases_of(e))

    def _cases_of(self, entry: Entry) -> list[Case]:
        levels = self.policy.levels(entry.prompts, entry.key, *self._draw)
        suffixed = self.policy.prompt == ALL and self.policy.override is None
        return [
            Case(
                key=f"{entry.key}#{level}" if suffixed else entry.key,
                dataset=getattr(entry, "dataset", None) or self.spec.name,
                split=self.split,
                image_name=entry.image_name,
                structure=getattr(entry, "structure", None) or self.spec.structure(entry.mask_name),
                group=getattr(entry, "group", None) or self.spec.group(entry.image_name),
                prompt=self.policy.text(entry.prompts, level, entry.key, *self._draw),
                prompt_level=level,
            )
            for level in levels
        ]
