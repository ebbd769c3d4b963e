"""The model and samples examined for the sanity card, and the attacks that its checks share."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from palpate.attacks import ZeroGradientWarning, annealed_dice, pgd, square
from palpate.data.sample import Batch
from palpate.evaluation.batches import select
from palpate.evaluation.image_attacks import AttackAtRadius
from palpate.evaluation.image_scores import Answer
from palpate.evaluation.scoring import Result, Scorer
from palpate.prompting import Bound
from palpate.types import Images, Logits, Loss, Masks, PerImage, ScheduledLoss

_PASSES = 4  # a random model with few possible outputs may give the same one twice
_QUERIES_PER_STEP = 5  # a forward and backward pass costs about as much as three queries


@dataclass
class LossCurve:
    """A loss that records its mean over all images at each step of an attack.

    It requires an attack that computes the loss of every image of a batch at every step.
    """

    loss: Loss = annealed_dice
    _batches: list[list[Tensor]] = field(default_factory=list)

    def start_batch(self) -> None:
        self._batches.append([])

    def __call__(self, logits: Logits, masks: Masks) -> PerImage:
        values: Tensor = self.loss(logits, masks)
        self._batches[-1].append(values.detach().cpu())
        return values

    def at(self, progress: float, *, targeted: bool = False) -> Loss:
        """The loss to ascend at one step; only the values that points are compared by are kept."""
        loss = self.loss
        return loss.at(progress, targeted=targeted) if isinstance(loss, ScheduledLoss) else loss

    def means(self) -> list[float]:
        steps = zip(*self._batches, strict=True)
        return [torch.cat(values).mean().item() for values in steps]


@dataclass(frozen=True)
class Subject:
    """The model under examination and the samples to examine it on.

    Results that several checks need are computed once and cached.

    Attributes:
        scorer: The model and its settings.
        batches: Samples; all images of a batch have the same size.
        epsilon: L-infinity radius of the attacks, in units of pixel value.
        steps: Steps of PGD.
    """

    scorer: Scorer
    batches: tuple[Batch, ...]  # each of one size
    epsilon: float
    steps: int

    @cached_property
    def clean(self) -> list[list[Answer]]:
        """Predictions and scores of the clean batches."""
        return [self.scorer.predict(batch, batch.images) for batch in self.batches]

    @cached_property
    def attacked(self) -> tuple[list[Result], list[float]]:
        """Results of the PGD attack that most checks use, and its mean loss at every step."""
        curve = LossCurve()
        return self.pgd(epsilon=self.epsilon, steps=self.steps, loss=curve), curve.means()

    @cached_property
    def largest_gap(self) -> float:
        """Largest difference between logits of the same images in several forward passes."""
        with torch.no_grad():
            passes = [
                torch.stack([self.logits(batch, batch.images) for _ in range(_PASSES)])
                for batch in self.batches
            ]
        return torch.stack([(each - each[0]).abs().max() for each in passes]).max().item()

    @cached_property
    def gap_of_company(self) -> float:
        """Largest difference between logits of an image alone and in a batch.

        It is relative to the largest logit of the batch, or absolute if that is below 1.
        """
        shares = []
        with torch.no_grad():
            for batch in self.batches:
                together = self.logits(batch, batch.images)
                parts = [select(batch, [place]) for place in range(len(batch.cases))]
                alone = torch.cat([self.logits(part, part.images) for part in parts])
                shares.append((together - alone).abs().max() / together.abs().max().clamp_min(1))
        return torch.stack(shares).max().item()

    def pgd(
        self, *, epsilon: float, steps: int, loss: Loss | LossCurve = annealed_dice
    ) -> list[Result]:
        """Attack every batch with PGD.

        Warnings about zero gradients are silenced, because check 10 reports them.
        """
        results: list[Result] = []
        for batch, clean in zip(self.batches, self.clean, strict=True):
            if isinstance(loss, LossCurve):
                loss.start_batch()
            attack: Any = partial(pgd, steps=steps, loss=loss)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ZeroGradientWarning)
                at_radius = AttackAtRadius("pgd", attack, "linf", epsilon)
                results += self.scorer.attack(batch, clean, at_radius)
        return results

    def square(self) -> list[Result]:
        """Attack every batch with Square Attack, for at least the compute of :meth:`pgd`."""
        attack: Any = partial(square, queries=_QUERIES_PER_STEP * self.steps)
        at_radius = AttackAtRadius("square", attack, "linf", self.epsilon)
        pairs = zip(self.batches, self.clean, strict=True)
        return [result for pair in pairs for result in self.scorer.attack(*pair, at_radius)]

    def logits(self, batch: Batch, images: Images) -> Logits:
        """Logits for ``images``, with the prompts and boxes of ``batch``."""
        bound = Bound(self.scorer.model, batch.prompts, batch.boxes, batch.ignored)
        return bound(images).float()


def mean_dsc(results: Sequence[Result]) -> float:
    return sum(result.row.dsc for result in results) / len(results)
