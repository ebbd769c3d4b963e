"""Validation of adversarial training: the score under attack, and a warning if it collapses."""

import csv
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from palpate import overlap
from palpate.prompting import Bound
from palpate.randomness import generator
from palpate.training.adversarial import call_options, fixed, named
from palpate.training.batches import Items, TrainingBatch, in_order
from palpate.types import Attack

ATTACKED = "attacked_dsc"
MIXED = "mixed_dsc"


class CatastrophicOverfittingWarning(RuntimeWarning):
    """Warns that the score under a stronger attack has collapsed during adversarial training.

    Training with attacks of one step can do this: the model learns to hide its gradient from that
    attack and stays open to others (Wong et al., 2020, https://arxiv.org/abs/2001.03994).
    """


@dataclass(frozen=True, eq=False)
class Watch:
    """What is measured under attack after every epoch.

    Attributes:
        attack: Attack on images; it should be stronger than that of training.
        epsilon: Radius, in units of pixel value.
        images: Number of validation samples to attack, from the first.
        clean_weight: Weight of the clean DSC in the score that selects the best epoch, 0 to 1; the
            rest is the weight of the attacked DSC.
    """

    attack: Attack
    epsilon: float
    images: int = 16
    clean_weight: float = 0.5

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ValueError(f"Expected at least 1 watched image, got {self.images}.")
        if not 0 <= self.clean_weight <= 1:
            raise ValueError(f"Expected clean_weight from 0 to 1, got {self.clean_weight:g}.")

    @property
    def identity(self) -> str:
        """Text that identifies everything that determines the best epoch."""
        return f"watch {named(self.attack)} {self.epsilon} {self.images} {self.clean_weight}"


def watched(
    validate: Callable[[nn.Module], dict[str, float]],
    watch: Watch,
    data: Items,
    history: Path,
    *,
    batch_size: int,
) -> Callable[[nn.Module], dict[str, float]]:
    """Add the DSC under attack, and the mixture that selects the best epoch, to the validation.

    Args:
        validate: Clean validation; returns at least ``dsc``.
        watch: The attack and its radius.
        data: Validation samples.
        history: ``metrics.csv`` of the finished epochs, with which the score is compared.
        batch_size: Images attacked at a time.

    Returns:
        Validation that also returns ``attacked_dsc`` and ``mixed_dsc``. It warns with
        :class:`CatastrophicOverfittingWarning` if the attacked DSC is below half of its best.
    """

    def score(model: nn.Module) -> dict[str, float]:
        clean = validate(model)
        attacked = attacked_dice(model, data, watch, batch_size)
        best = max([attacked, *_earlier(history)])
        if attacked < best / 2:
            warnings.warn(
                f"The DSC under attack fell from {best:.3f} to {attacked:.3f}, below half: "
                "catastrophic overfitting, as is known of attacks with one step. The best epoch "
                "is kept. Train with more steps, a smaller radius or a longer warm-up of it.",
                CatastrophicOverfittingWarning,
                stacklevel=2,
            )
        mixed = watch.clean_weight * clean["dsc"] + (1 - watch.clean_weight) * attacked
        return {**clean, ATTACKED: attacked, MIXED: mixed}

    return score


def attacked_dice(model: nn.Module, data: Items, watch: Watch, batch_size: int) -> float:
    """Mean DSC of the first samples under attack.

    Args:
        model: Called as ``model(images, prompts)``.
        data: Samples of one size.
        watch: The attack, its radius and the number of samples.
        batch_size: Images attacked at a time.
    """
    place = next(model.parameters()).device
    threshold = float(getattr(model, "threshold_logit", 0.0))
    scores, row = [], 0
    for batch in in_order(_First(data, watch.images), batch_size, device=place):
        rows = range(row, row + len(batch.inputs))
        row = rows.stop
        with fixed(model):
            bound = Bound(model, batch.prompts, batch.boxes, batch.ignored)
            # The same draws in every epoch: only the weights differ.
            draws = [generator(0, "watch", number) for number in rows]
            given = call_options(watch.attack, model, watch.epsilon, draws)
            images = watch.attack(bound, batch.inputs, batch.masks, **given)
            with torch.no_grad():
                predicted = overlap.binarise(bound(images), threshold)
        scores.append(overlap.dice(overlap.count(predicted, batch.masks)))
    return torch.cat(scores).mean().item()


@dataclass(frozen=True, eq=False)
class _First:
    """The first samples."""

    data: Items
    count: int

    def __len__(self) -> int:
        return min(self.count, len(self.data))

    def __getitem__(self, index: int) -> TrainingBatch:
        return self.data[index]


def _earlier(history: Path) -> list[float]:
    if not history.is_file():
        return []
    with history.open(newline="", encoding="utf-8") as file:
        return [float(row[ATTACKED]) for row in csv.DictReader(file) if row.get(ATTACKED)]
