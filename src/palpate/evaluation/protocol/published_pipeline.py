"""The published pipeline: which sample and prompt are attacked, and with which prompt scored.

Under the sound protocol these are always the image and prompt of the sample. The published pipeline
saves attacked images to files and loads them with newly drawn prompts, so that a scored image may
have been attacked for another structure or with another prompt.
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.data import Samples
from palpate.data.sample import Batch, Case, collate
from palpate.evaluation.image_attacks import AttackAtRadius
from palpate.evaluation.protocol.protocol import Protocol
from palpate.randomness import choose

_DRAWS = 2**31


class PublishedPipeline:
    """Replaces samples and prompts of a batch as a protocol requires.

    Args:
        data: The samples; need ``with_epoch`` if the protocol redraws prompts.
        cases: The cases of all samples, in order.
        protocol: The protocol.
        seed: Seed of the redrawn prompts.

    Raises:
        ValueError: If the protocol redraws prompts and the data have no ``with_epoch``.
    """

    def __init__(self, data: Samples, cases: Sequence[Case], protocol: Protocol, seed: int) -> None:
        self.data, self.protocol, self.seed = data, protocol, seed
        self.places = {_identity(case): place for place, case in enumerate(cases)}
        self.last = {(case.dataset, case.image_name): place for place, case in enumerate(cases)}
        self._drawn: dict[tuple[str, float, str], Sequence[Case]] = {}
        if protocol.prompts == "redrawn" and not hasattr(data, "with_epoch"):
            raise ValueError(
                "Expected data that can draw prompts anew (with_epoch) under a protocol with "
                f"prompts='redrawn', got {type(data).__name__}. Choose prompts='fixed'."
            )

    def attacked(self, batch: Batch, attack: AttackAtRadius) -> Batch:
        """Return the samples to attack in place of those of the batch, with their prompts."""
        if self.protocol.naming == "image":
            batch = self._authors(batch)
        return self._redrawn(batch, attack, "attack")

    def scored(self, batch: Batch, attack: AttackAtRadius) -> Batch:
        """Return the batch with the prompts used for scoring."""
        return self._redrawn(batch, attack, "score")

    def truth(self, batch: Batch) -> Float[Tensor, "b 1 h w"] | None:
        """Masks with the grey values of their files, or None if the protocol uses binary masks."""
        if self.protocol.truth == "binary":
            return None
        data: Any = self.data
        if not hasattr(data, "soft_mask"):
            return batch.masks.float()
        places = [self.places[_identity(case)] for case in batch.cases]
        return torch.stack([data.soft_mask(place) for place in places]).to(batch.images)

    def _authors(self, batch: Batch) -> Batch:
        """The last sample of each image, whose file overwrites those of its other samples."""
        places = [self.last[case.dataset, case.image_name] for case in batch.cases]
        own = [self.places[_identity(case)] for case in batch.cases]
        if places == own:
            return batch
        last = collate([self.data[place] for place in places])
        images, masks = last.images.to(batch.images), last.masks.to(batch.masks.device)
        ignored = None if last.ignored is None else last.ignored.to(masks.device)
        return replace(last, images=images, masks=masks, ignored=ignored)

    def _redrawn(self, batch: Batch, attack: AttackAtRadius, role: str) -> Batch:
        if self.protocol.prompts == "fixed":
            return batch
        drawn = self._draw(attack, role)
        cases = (drawn[self.places[_identity(case)]] for case in batch.cases)
        prompts = (case.prompt for case in cases)
        return replace(
            batch,
            cases=tuple(
                replace(case, prompt=prompt)
                for case, prompt in zip(batch.cases, prompts, strict=True)
            ),
        )

    def _draw(self, attack: AttackAtRadius, role: str) -> Sequence[Case]:
        """All cases with prompts drawn for an attack and role; the same in every call."""
        purpose = (attack.name, attack.epsilon, role)
        if purpose not in self._drawn:
            data: Any = self.data
            self._drawn[purpose] = data.with_epoch(self._number(*purpose)).cases
        return self._drawn[purpose]

    def _number(self, name: str, epsilon: float, role: str) -> int:
        if self.protocol.seeding == "none":
            return secrets.randbelow(_DRAWS)
        return choose(_DRAWS, self.seed, "prompts", name, repr(epsilon), role)


def _identity(case: Case) -> tuple[str, str, str, str]:
    return case.dataset, case.split, case.key, case.prompt_level
