"""A few samples under a model, pressed again and again by the checks of the sanity card."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from palpate.attacks import LOSSES, ZeroGradientWarning, pgd, square
from palpate.data.sample import Batch
from palpate.evaluation.batches import select
from palpate.evaluation.conditions import Trial
from palpate.evaluation.image_scores import Answer
from palpate.evaluation.scoring import Bench, Result
from palpate.prompting import Bound
from palpate.types import Images, Logits, Loss, Masks, PerImage

_LOOKS = 4  # a model that draws among few answers may well give the same one twice
_QUERIES_PER_STEP = 5  # a pass forward and back costs about three queries


@dataclass
class LossCurve:
    """A loss that remembers its values: the mean over images, step by step.

    Expects attacks that look at every image of a batch at every step.
    """

    loss: Loss = LOSSES["bce_dice"]
    _batches: list[list[Tensor]] = field(default_factory=list)

    def start_batch(self) -> None:
        self._batches.append([])

    def __call__(self, logits: Logits, masks: Masks) -> PerImage:
        values: Tensor = self.loss(logits, masks)
        self._batches[-1].append(values.detach().cpu())
        return values

    def means(self) -> list[float]:
        steps = zip(*self._batches, strict=True)
        return [torch.cat(values).mean().item() for values in steps]


@dataclass(frozen=True)
class Subject:
    """The model under examination and the samples to examine it on."""

    bench: Bench
    batches: tuple[Batch, ...]  # each of one size
    epsilon: float
    steps: int

    @cached_property
    def clean(self) -> list[list[Answer]]:
        """What the model answers to the batches untouched."""
        return [self.bench.look(batch, batch.images) for batch in self.batches]

    @cached_property
    def attacked(self) -> tuple[list[Result], list[float]]:
        """The attack that most checks look at, and its loss before each step and after all."""
        curve = LossCurve()
        return self.pgd(epsilon=self.epsilon, steps=self.steps, loss=curve), curve.means()

    @cached_property
    def largest_gap(self) -> float:
        """How far logits of the same images lie apart between several looks."""
        with torch.no_grad():
            looks = [
                torch.stack([self.logits(batch, batch.images) for _ in range(_LOOKS)])
                for batch in self.batches
            ]
        return torch.stack([(look - look[0]).abs().max() for look in looks]).max().item()

    @cached_property
    def gap_of_company(self) -> float:
        """How far logits of an image alone lie from those in its batch, to the largest logit."""
        shares = []
        with torch.no_grad():
            for batch in self.batches:
                together = self.logits(batch, batch.images)
                parts = [select(batch, [place]) for place in range(len(batch.cases))]
                alone = torch.cat([self.logits(part, part.images) for part in parts])
                shares.append((together - alone).abs().max() / together.abs().max().clamp_min(1))
        return torch.stack(shares).max().item()

    def pgd(
        self, *, epsilon: float, steps: int, loss: Loss | LossCurve = LOSSES["bce_dice"]
    ) -> list[Result]:
        """Attack every batch. Zero gradients have a check of their own and do not warn here."""
        results: list[Result] = []
        for batch, clean in zip(self.batches, self.clean, strict=True):
            if isinstance(loss, LossCurve):
                loss.start_batch()
            attack: Any = partial(pgd, steps=steps, loss=loss)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ZeroGradientWarning)
                results += self.bench.press(batch, clean, Trial("pgd", attack, "linf", epsilon))
        return results

    def square(self) -> list[Result]:
        """Attack every batch without gradients, at about the price of the attack above."""
        attack: Any = partial(square, queries=_QUERIES_PER_STEP * self.steps)
        trial = Trial("square", attack, "linf", self.epsilon)
        pairs = zip(self.batches, self.clean, strict=True)
        return [result for pair in pairs for result in self.bench.press(*pair, trial)]

    def logits(self, batch: Batch, images: Images) -> Logits:
        """What the model says about images in place of those of a batch, unscored."""
        return Bound(self.bench.model, batch.prompts, batch.boxes)(images).float()


def mean_dsc(results: Sequence[Result]) -> float:
    return sum(result.row.dsc for result in results) / len(results)


def mean_clean_dsc(results: Sequence[Result]) -> float:
    return sum(result.row.dsc_clean for result in results) / len(results)
