"""The model and samples examined for the sanity card, and the attacks that its checks share."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from palpate.attacks import LOSSES, ZeroGradientWarning, annealed_dice, pgd, square, transfer
from palpate.attacks.bpda.stages import GaussianNoise
from palpate.data import boxes_of
from palpate.data.sample import Batch
from palpate.evaluation.batches import select
from palpate.evaluation.image_attacks import AttackAtRadius
from palpate.evaluation.image_scores import Answer
from palpate.evaluation.scoring import Result, Scorer
from palpate.prompting import Bound, wants_boxes
from palpate.randomness import generator
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
    def attacked_on_margin(self) -> list[Result]:
        """Results of the same attack with a loss that does not saturate."""
        return self.pgd(epsilon=self.epsilon, steps=self.steps, loss=LOSSES["margin"])

    @property
    def white_scores(self) -> NDArray[np.float64]:
        """DSC of every image after the stronger of these two attacks."""
        return np.minimum(scores_of(self.attacked[0]), scores_of(self.attacked_on_margin))

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

    @cached_property
    def moved(self) -> "Subject":
        """The same model, and samples it cannot have seen: the same ones, moved by an eighth."""
        return replace(self, batches=tuple(moved(batch) for batch in self.batches))

    def pgd(
        self, *, epsilon: float, steps: int, loss: Loss | LossCurve = annealed_dice
    ) -> list[Result]:
        """Attack every batch with PGD."""
        results: list[Result] = []
        for batch, clean in zip(self.batches, self.clean, strict=True):
            if isinstance(loss, LossCurve):
                loss.start_batch()
            attack: Any = partial(pgd, steps=steps, loss=loss)
            results += self._attack(batch, clean, "pgd", attack, epsilon)
        return results

    def square(self) -> list[Result]:
        """Attack every batch with Square Attack, for at least the compute of :meth:`pgd`."""
        attack: Any = partial(square, queries=_QUERIES_PER_STEP * self.steps)
        results: list[Result] = []
        for batch, clean in zip(self.batches, self.clean, strict=True):
            results += self._attack(batch, clean, "square", attack, self.epsilon)
        return results

    def transfer_from_smoothed(self, steps: int) -> list[Result]:
        """Attack every batch with the gradients of :class:`Smoothed`."""
        results: list[Result] = []
        for batch, clean in zip(self.batches, self.clean, strict=True):
            smoothed = Smoothed(self.scorer, batch.keys, self.epsilon)
            attack: Any = partial(transfer, steps=steps, surrogate=smoothed)
            results += self._attack(batch, clean, "transfer", attack, self.epsilon)
        return results

    def _attack(
        self, batch: Batch, clean: list[Answer], name: str, attack: Any, epsilon: float
    ) -> list[Result]:
        # Check 10 reports gradients of zero, so no warning is needed.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ZeroGradientWarning)
            return self.scorer.attack(batch, clean, AttackAtRadius(name, attack, "linf", epsilon))

    def logits(self, batch: Batch, images: Images) -> Logits:
        """Logits for ``images``, with the prompts and boxes of ``batch``."""
        bound = Bound(self.scorer.model, batch.prompts, batch.boxes, batch.ignored)
        return bound(images).float()


class Smoothed:
    """A copy of the model that sees noise of the size of an attack, drawn anew at every call.

    With the momentum of a transfer attack, its gradients are averaged over the noise of all steps.
    """

    def __init__(self, scorer: Scorer, keys: Sequence[str], deviation: float) -> None:
        self.model, self.threshold_logit = scorer.model, scorer.threshold
        self.wants_boxes = wants_boxes(scorer.model)
        self._noise = GaussianNoise(deviation)
        self._generators = [generator(scorer.seed, key, "smoothed") for key in keys]

    def __call__(self, images: Images, **prompts: Any) -> Logits:
        noisy = self._noise(images, self._generators).clamp(0, 1)
        logits: Logits = self.model(noisy, **prompts).float()
        return logits


def moved(batch: Batch) -> Batch:
    """Move images and masks by an eighth of their size towards where there is less of the mask.

    What is uncovered at the border is filled with the mirrored image.
    """
    parts = [
        [_moved(each, mask) for each in (image, mask, *more)]
        for image, mask, *more in zip(
            batch.images, batch.masks, *([] if batch.ignored is None else [batch.ignored]),
            strict=True,
        )
    ]  # fmt: skip
    images, masks, *ignored = (torch.stack(column) for column in zip(*parts, strict=True))
    return replace(
        batch,
        images=images,
        masks=masks,
        boxes=None if batch.boxes is None else tuple(boxes_of(masks)),
        ignored=ignored[0] if ignored else None,
    )


def _moved(maps: Tensor, mask: Tensor) -> Tensor:
    for axis in (-2, -1):
        size = maps.shape[axis]
        step = max(1, size // 8)
        filled = mask.nonzero()[:, axis].float()
        # Towards the middle, so that nothing of the structure leaves the image.
        step = step if len(filled) == 0 or filled.mean() < size / 2 else -step
        places = (torch.arange(size, device=maps.device) - step).abs()
        places = torch.where(places < size, places, 2 * (size - 1) - places)
        maps, mask = maps.index_select(axis, places), mask.index_select(axis, places)
    return maps


def scores_of(results: Sequence[Result]) -> NDArray[np.float64]:
    """DSC of every image after an attack."""
    return np.array([result.row.dsc for result in results])


def mean_dsc(results: Sequence[Result]) -> float:
    return float(scores_of(results).mean())
