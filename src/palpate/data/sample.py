"""One example, what is known about it, and how examples become a batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palpate.data.boxes import boxes_of
from palpate.types import Box, Images, Masks


@dataclass(frozen=True)
class Case:
    """What is known about a sample besides its pixels.

    ``key`` names the sample in every results table, so that two runs can be paired; ``group``
    is what must not be torn apart by a split or a bootstrap: the patient where known.
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
    """An image, the prompt that says what to segment (``case.prompt``), and its mask."""

    case: Case
    image: Float[Tensor, "3 h w"]  # in [0, 1]
    mask: Bool[Tensor, "1 h w"]

    @property
    def prompt(self) -> str:
        """What to segment."""
        return self.case.prompt

    @property
    def box(self) -> Box:
        """The box of the mask, for models that declare ``wants_boxes = True``."""
        return boxes_of(self.mask[None])[0]


@dataclass(frozen=True)
class Batch:
    """Samples of one size, stacked along a first axis.

    ``boxes`` has one box per sample, that of its true mask, for models that declare
    ``wants_boxes = True``. It is a field, so that it stays the box of the true mask where a copy of
    the batch gets other images or masks.
    """

    cases: tuple[Case, ...]
    images: Images
    masks: Masks
    boxes: tuple[Box, ...] | None = None

    @property
    def prompts(self) -> tuple[str, ...]:
        """One text per sample."""
        return tuple(case.prompt for case in self.cases)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(case.key for case in self.cases)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples; the ``collate_fn`` of every loader of the package.

    Raises:
        ValueError: If there is no sample, or their sizes differ.
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
