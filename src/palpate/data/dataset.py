"""The data set class: images with masks and prompts, from any source."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, final, runtime_checkable

from jaxtyping import Bool, Float
from torch import Generator, Tensor
from torch.utils.data import Dataset

from palpate.data.augment import Augmentation, augment
from palpate.data.prompt_policy import ALL, PromptPolicy, Texts
from palpate.data.sample import Case, Sample
from palpate.randomness import generator


@dataclass(frozen=True)
class DatasetSpec:
    """Properties of a data set that are not in its files.

    Attributes:
        name: Name under which the data set is loaded.
        folder: Its folder below the root; empty for the root itself.
        structure: Maps the name of a mask file to the structure that the mask outlines.
        group: Maps the name of an image to its group (patient). Splits and bootstraps keep groups
            together.
        reference: Citation.
        mirrors: Whether a mirrored image is anatomically valid; False for the heart, for example.
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
        """Name of the image, unique within its data set and split."""
        ...

    @property
    def mask_name(self) -> str:
        """Name of the mask, unique within its data set and split."""
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
        """Read or render the image, (3, h, w) in [0, 1], and its mask, (1, h, w).

        Args:
            size: Side of the square that both are resized to, in pixels; None for their own size.
        """
        ...


def ignored_pixels(entry: Entry, size: int | None) -> Bool[Tensor, "1 h w"] | None:
    """Pixels of an entry that count in no loss, attack or metric, (1, h, w); None if all count.

    Entries that can have some provide the method ``read_ignored(size)``.
    """
    read = getattr(entry, "read_ignored", None)
    ignored: Tensor | None = None if read is None else read(size)
    return ignored


def describe(
    data: Dataset[Sample], name: str, split: str, size: int | None, *, shown: int = 4
) -> str:
    """Describe a data set in one line for ``repr``: name, split and counts. Reads no image.

    Args:
        data: A data set with ``cases``.
        name: Name of the data set.
        split: Split of its samples.
        size: Side of its images in pixels; None if each keeps its own size.
        shown: Largest number of structures to name.
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
    """Describe an entry in one line for ``repr``: type, key and prompt levels."""
    return f"<{type(entry).__name__.strip('_')} {entry.key!r}, prompts: {', '.join(entry.prompts)}>"


@final
@dataclass(frozen=True, eq=False)
class PromptedDataset(Dataset[Sample]):
    """A split of a data set with prompts; made by :func:`palpate.data.load_data`.

    Images are read or rendered when a sample is indexed; ``cases`` has the metadata without them.

    Attributes:
        spec: Properties of the data set.
        split: ``train``, ``val`` or ``test``.
        entries: Entries of the annotation file, or phantoms.
        policy: Chooses the prompts; its seed is also the seed of the augmentation.
        size: Side of the square that samples are resized to, in pixels; None keeps their own size.
        epoch: Epoch that seeds the random choices; None outside training.
        augmentation: Applied to every sample after resizing; None in evaluation.
        redraw: Returns new entries for an epoch, always the same number; None to keep the entries.
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
        """Metadata of each sample, in order, with prompts before augmentation."""
        return tuple(case for _, case in self._items)

    @cached_property
    def texts(self) -> tuple[Texts, ...]:
        """All texts of each sample by level; the prompt is one of them unless it is overridden."""
        return tuple(entry.prompts for entry, _ in self._items)

    @cached_property
    def mask_rules(self) -> str:
        """How values of mask files are read, as text; empty if all masks are binary."""
        rules = dict.fromkeys(str(getattr(entry, "rule", "")) for entry in self.entries)
        return "; ".join(rule for rule in rules if rule)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return describe(self, self.spec.name, self.split, self.size)

    def __getitem__(self, index: int) -> Sample:
        entry, case = self._items[index]
        image, mask = entry.read(self.size)
        ignored = ignored_pixels(entry, self.size)
        if self.augmentation is None:
            return Sample(case, image, mask, ignored)
        if ignored is not None:  # moved by the same random numbers as the mask
            _, ignored, _ = augment(image, ignored, "", self.augmentation, self._source(case))
        image, mask, prompt = augment(
            image, mask, case.prompt, self.augmentation, self._source(case)
        )
        return Sample(replace(case, prompt=prompt), image, mask, ignored)

    def _source(self, case: Case) -> Generator:
        """Random numbers of the augmentation of a sample."""
        # Seeded by sample and epoch: the result does not depend on order or number of workers.
        return generator(self.policy.seed, "augmentation", *self._draw, case.key)

    def soft_mask(self, index: int) -> Float[Tensor, "1 h w"]:
        """The mask of a sample with the grey values of its file, (1, h, w) in [0, 1].

        Sources without soft masks, such as phantoms, give 0 and 1.
        """
        entry, _ = self._items[index]
        read = getattr(entry, "read_soft_mask", None)
        soft: Tensor = self[index].mask.float() if read is None else read(self.size)
        return soft

    def with_epoch(self, epoch: int) -> "PromptedDataset":
        """A copy whose random choices (prompts, augmentation) are those of this epoch."""
        entries = self.entries if self.redraw is None else self.redraw(epoch)
        return replace(self, epoch=epoch, entries=entries)

    def augmented(self, augmentation: Augmentation | None) -> "PromptedDataset":
        """A copy with this augmentation, for training."""
        return replace(self, augmentation=augmentation)

    @property
    def _draw(self) -> tuple[int, ...]:
        return () if self.epoch is None else (self.epoch,)

    @cached_property
    def _items(self) -> tuple[tuple[Entry, Case], ...]:
        return tuple((e, case) for e in self.entries for case in self._cases_of(e))

    def _cases_of(self, entry: Entry) -> list[Case]:
        """Metadata of the samples of an entry: one, or one per level if the prompt is ``all``."""
        levels = self.policy.levels(entry.prompts, entry.key, *self._draw)
        # Several samples of one entry need different keys; others keep theirs for pairing.
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
