"""Samples with their metadata, and batches of samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palpate.data.boxes import boxes_of
from palpate.types import Box, Images, Masks


@dataclass(frozen=True)
class Case:
    """Metadata of a sample.

    Attributes:
        key: Identifier of the sample in every results table, by which two runs are paired.
        dataset: Name of the data set.
        split: ``train``, ``val`` or ``test``.
        image_name: Name of the image.
        structure: Structure that the mask outlines.
        group: Unit that splits and bootstraps keep together: the patient where known.
        prompt: Text that says what to segment.
        prompt_level: Level of the text, such as ``p3``.
    """

    key: str
    dataset: str
    split: str
    image_name: str
    structure: str
    group: str
    prompt: str
    prompt_level: str


@dataclass(frozen=True)
class Sample:
    """An image with its mask and metadata.

    Attributes:
        case: Metadata, with the prompt.
        image: Image (3, h, w) in [0, 1].
        mask: Ground-truth mask (1, h, w).
    """

    case: Case
    image: Float[Tensor, "3 h w"]  # in [0, 1]
    mask: Bool[Tensor, "1 h w"]

    def __repr__(self) -> str:
        h, w = self.mask.shape[-2:]
        share = self.mask.float().mean().item()
        return f"Sample({self.case.key!r}, {h} x {w} px, {share:.1%} foreground, {self.prompt!r})"

    @property
    def prompt(self) -> str:
        """Text that says what to segment."""
        return self.case.prompt

    @property
    def box(self) -> Box:
        """Bounding box of the mask, for models that declare ``wants_boxes = True``."""
        return boxes_of(self.mask[None])[0]


@dataclass(frozen=True)
class Batch:
    """Samples of one size, stacked along a first axis.

    Attributes:
        cases: Metadata of each sample.
        images: Images (b, 3, h, w) in [0, 1].
        masks: Ground-truth masks (b, 1, h, w).
        boxes: Bounding box of each ground-truth mask, for models that declare ``wants_boxes =
            True``. It is a field and not computed from ``masks``, so that it remains the box of the
            ground truth in a copy of the batch with other masks.
    """

    cases: tuple[Case, ...]
    images: Images
    masks: Masks
    boxes: tuple[Box, ...] | None = None

    def __repr__(self) -> str:
        keys = ", ".join(repr(key) for key in self.keys[:3])
        more = ", ..." if len(self.keys) > 3 else ""
        h, w = self.masks.shape[-2:]
        return f"Batch({len(self.keys)} samples of {h} x {w} px: {keys}{more})"

    @property
    def prompts(self) -> tuple[str, ...]:
        """Prompt of each sample."""
        return tuple(case.prompt for case in self.cases)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(case.key for case in self.cases)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples into a batch; the ``collate_fn`` of every loader of the package.

    Args:
        samples: At least one sample; images of one size.

    Raises:
        ValueError: If there is no sample, or the sizes differ.
    """
    sizes = {tuple(sample.image.shape[-2:]) for sample in samples}
    if len(sizes) != 1:
        raise ValueError(
            f"Expected samples of one size, got {sorted(sizes) or 'no sample'} (height, width). "
            "Load the data with size=..., or use palpate.data.batches, which groups equal sizes."
        )
    masks = torch.stack([sample.mask for sample in samples])
    return Batch(
        cases=tuple(sample.case for sample in samples),
        images=torch.stack([sample.image for sample in samples]),
        masks=masks,
        boxes=tuple(boxes_of(masks)),
    )
