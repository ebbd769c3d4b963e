"""Ensemble of losses: APGD with several losses that race on each image for the passes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palpate.attacks.core.best import Best
from palpate.attacks.core.checks import check_inputs
from palpate.attacks.core.gradient_step import warn_if_flat
from palpate.attacks.core.problem import Problem
from palpate.attacks.gradient.across_losses import name_of, record_run
from palpate.attacks.gradient.apgd_step import ascend
from palpate.attacks.losses import MaskedMargin, annealed_dice, jensen_shannon, margin
from palpate.attacks.threats import ANYWHERE, Threat, Within
from palpate.types import Images, LogitsFn, Loss, Masks, Norm, Randomness

Preset: TypeAlias = Literal["quick", "standard", "full"]

PRESETS: dict[Preset, int] = {"quick": 120, "standard": 400, "full": 1200}
"""Steps per image, all losses together: as many as :func:`sea` takes by the same names."""

ENSEMBLE_LOSSES: tuple[Loss, ...] = (annealed_dice, margin, jensen_shannon, MaskedMargin())

_SHARE = 5  # each of the two rounds with several losses gets this part of the steps
_LONGEST = 240  # steps of a run with the best loss; what is left is spent on restarts
_LEAD = 0.05  # lead in Dice score of the first loss, which is best in the end more often than early
_FLAT = 0.005  # a restart is worth while if the last run lowered the Dice score by more


@torch.no_grad()
def ensemble(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    epsilon: float,
    preset: Preset = "standard",
    steps: int | None = None,
    losses: Sequence[Loss] = ENSEMBLE_LOSSES,
    norm: Norm = "linf",
    targeted: bool = False,
    within: Within = ANYWHERE,
    generator: Randomness = None,
    threshold: float = 0.0,
    early_stop: bool = True,
) -> Images:
    """Ensemble of APGD runs whose losses are raced on each image by successive halving.

    Every run is APGD (Croce & Hein, 2020, https://arxiv.org/abs/2003.01690) from a new random
    point, with one loss. In the first round there is a short run with each loss. The half of the
    losses that left the lowest Dice scores on an image get a longer run on it, and the best of
    these gets the remaining steps (successive halving, Jamieson & Talwalkar, 2016,
    https://arxiv.org/abs/1502.07943). The first loss is replaced only by one that is ahead by more
    than 5 points of DSC, because the default one gains more from a longer run than the others. Long
    remainders are divided into restarts; an image whose last run lowered its Dice score by half a
    point or less gets no further one. Each image gets the worst result of all runs on it.

    The first two rounds take a fifth of the steps each. A run of N steps costs N + 2 forward and N
    backward passes. With the four losses of :data:`ENSEMBLE_LOSSES` an image costs, at most:

    =========  ===================  =============  ========  ========
    preset     steps of each round  runs           forwards  backwards
    =========  ===================  =============  ========  ========
    quick      6, 12, 72            4 + 2 + 1      134       120
    standard   20, 40, 240          4 + 2 + 1      414       400
    full       60, 120, 240         4 + 2 + 3      1218      1200
    =========  ===================  =============  ========  ========

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, see :func:`palpate.attacks.pgd`.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        preset: ``"quick"``, ``"standard"`` or ``"full"``: at most 120, 400 or 1200 steps per image.
        steps: Steps per image of all runs together, instead of a preset; at least one per loss.
        losses: Losses to maximise, the one expected to be strongest first.
        norm: Norm of the ball, over all channels and pixels of an image.
        targeted: Descend towards ``masks`` instead of ascending away from them.
        within: Threat model: which pixels the perturbation may change and how, see
            :func:`~palpate.attacks.threats.threat_model`.
        generator: On the CPU; one for the batch, or one per image. ``None`` uses torch's global
            generator.
        threshold: Logits above it are foreground. It is subtracted from the logits before the
            loss is computed.
        early_stop: Stop attacking an image once its Dice score is 0 (targeted: 1). This changes
            no score.

    Returns:
        Adversarial images in [0, 1], no further than ``epsilon`` from ``images``, detached.

    Raises:
        ValueError: If images, masks, budgets, losses or logits are not as described.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from a loss to the pixels.

    Warns:
        ZeroGradientWarning: If the gradient of a loss was zero everywhere on an image at some step.
            The warning names the losses.
    """
    threat = check_inputs(images, masks, epsilon, norm, within)
    if preset not in PRESETS:
        raise ValueError(f"Expected preset 'quick', 'standard' or 'full', got {preset!r}.")
    rounds = plan_rounds(PRESETS[preset] if steps is None else steps, len(losses))
    problem = Problem.of_batch(
        model, images, masks, losses[0], targeted=targeted, threshold=threshold
    )
    race = _Race(problem, tuple(losses), images, masks, epsilon, norm, threat, early_stop)
    for each in rounds:
        race.run(each, generator)
    flat_losses = [losses[place] for place in race.flat.any(1).nonzero().flatten().tolist()]
    warn_if_flat(race.flat.any(0), losses=list(map(name_of, flat_losses)))
    return race.worst.adversarial


@dataclass(frozen=True)
class Round:
    """A round of the race: the ``kept`` best losses of each image get a run of ``steps`` each."""

    kept: int
    steps: int


def plan_rounds(steps: int, losses: int) -> list[Round]:
    """Divide the steps of an image among the rounds.

    Args:
        steps: Steps of all runs together.
        losses: Number of losses.

    Raises:
        ValueError: If there is no loss, or less than one step for each.

    >>> [(each.kept, each.steps) for each in plan_rounds(400, 4)]
    [(4, 20), (2, 40), (1, 240)]
    """
    if losses < 1:
        raise ValueError("Expected at least one loss, got none.")
    if steps < losses:
        raise ValueError(
            f"Expected at least {losses} steps, one for each loss, got {steps}; give more steps "
            "or fewer losses."
        )
    rounds: list[Round] = []
    kept, left = losses, steps
    while kept > 1 and len(rounds) < 2:
        length = max(steps // (_SHARE * kept), 0 if rounds else 1)
        if length:
            rounds.append(Round(kept, length))
        left -= kept * length
        kept = (kept + 1) // 2 if length else 1
    runs = -(-left // _LONGEST)
    return rounds + [Round(1, left // max(runs, 1))] * runs


class _Race:
    """The runs so far. Every tensor has one column per image, so images do not affect each other.

    Attributes:
        worst: The worst point of each image over all runs.
        ranks: Best rank of each loss on each image, in double precision.
        gains: How much the last run on an image lowered its Dice score below all before.
    """

    def __init__(
        self,
        problem: Problem,
        losses: tuple[Loss, ...],
        images: Images,
        masks: Masks,
        epsilon: float,
        norm: Norm,
        threat: Threat,
        early_stop: bool,
    ) -> None:
        self.problem, self.losses, self.images, self.masks = problem, losses, images, masks
        self.epsilon, self.norm, self.threat, self.early_stop = epsilon, norm, threat, early_stop
        count = len(images)
        self.worst = Best(images)
        self.ranks: Float[Tensor, "losses n"] = torch.full((len(losses), count), -torch.inf)
        self.gains: Float[Tensor, " n"] = torch.full((count,), torch.inf)
        self.flat: Bool[Tensor, "losses n"] = torch.zeros(len(losses), count, dtype=torch.bool)
        self.left: Bool[Tensor, " n"] = torch.ones(count, dtype=torch.bool)

    def run(self, each: Round, generator: Randomness) -> None:
        """One round: a run from a new random point for each of the best losses of an image."""
        chosen = self._best(each.kept)
        for place, loss in enumerate(self.losses):
            # Drawn for the whole batch, so that finished images do not change the draws of others.
            start = self.threat.random_start(
                self.images, self.masks, self.epsilon, self.norm, generator
            )
            racing = chosen[place] & self.left
            if racing.any():
                problem = self.problem.select(racing.to(self.images.device))
                self._ascend(replace(problem, loss=loss), place, start, each.steps)
        if each.kept == 1:
            self.left &= self.gains > _FLAT

    def _best(self, kept: int) -> Bool[Tensor, "losses n"]:
        """The best losses of each image; the first one has a lead."""
        with_lead = self.ranks.clone()
        with_lead[0] += _LEAD
        order = with_lead.sort(dim=0, descending=True, stable=True).indices[:kept]
        return torch.zeros_like(self.flat).scatter(0, order, True)

    def _ascend(self, problem: Problem, place: int, start: Images, steps: int) -> None:
        best, rows = Best(self.images), problem.rows
        going, flat = ascend(
            problem,
            start[rows],
            best,
            epsilon=self.epsilon,
            steps=steps,
            norm=self.norm,
            threat=self.threat,
            threshold=problem.threshold,
            keep="dice",
            early_stop=self.early_stop,
            start_counts=False,
            during=f"a run with {name_of(problem.loss)}",
        )
        self.flat[place] |= flat
        ranks = record_run(self.worst, problem, best.adversarial[rows], problem.threshold).cpu()
        before = self.ranks[:, rows].amax(0)
        self.gains[rows] = (ranks - before).float()
        self.ranks[place, rows] = self.ranks[place, rows].maximum(ranks.float())
        finished = torch.ones(len(self.images), dtype=torch.bool)
        finished[going.rows] = False
        self.left[rows] &= ~finished[rows]
