"""One example, what is known about it, and how examples become a batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palpate.types import Images, Masks


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
    """An image, what to look for in it (``case.prompt``), and where it is."""

    case: Case
    image: Float[Tensor, "3 h w"]  # in [0, 1]
    mask: Bool[Tensor, "1 h w"]


@dataclass(frozen=True)
class Batch:
    """Samples of one size, stacked along a first axis."""

    cases: tuple[Case, ...]
    images: Images
    masks: Masks

    @property
    def prompts(self) -> tuple[str, ...]:
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
    return Batch(
        cases=tuple(sample.case for sample in samples),
        images=torch.stack([sample.image for sample in samples]),
        masks=torch.stack([sample.mask for sample in samples]),
    )
