"""Attack copies of the same images with several losses at once; choose the best loss per image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from palpate.attacks.core.gradient_step import (
    EvaluatedPoint,
    evaluate_point,
    is_stuck,
    pixel_gradient,
)
from palpate.attacks.core.per_image import as_one_per_image
from palpate.attacks.core.problem import Problem
from palpate.attacks.core.selection import restrict
from palpate.attacks.medis.success_rules import Rules, Scores
from palpate.attacks.threats import Threat
from palpate.oom import Portions
from palpate.types import Images, LogitsFn, Loss, Maps, Masks, PerImage, ScheduledLoss

_NEVER = 2**62
_ANYWHERE = Threat()


@dataclass(frozen=True)
class Run:
    """The result of one loss on a batch. All tensors except ``images`` are on the CPU.

    Attributes:
        loss: Name of the loss.
        images: For each image, the point of the first success; without a success, the first point
            with the best score.
        success: Whether there was a success.
        steps: Steps taken up to ``images``, as :meth:`Rules.number` counts them.
        credit: Score that success is judged by, at ``images``; NaN where ``skipped``.
        skipped: Images that were not attacked, see :func:`run_losses`.
        flat: Whether the gradient was zero at some point although some pixel lacked the class the
            attacker wants.
        scores: Score at each point; NaN at points that were not evaluated.
        values: Value of the loss at each point; NaN at points that were not evaluated.
    """

    loss: str
    images: Images
    success: Bool[Tensor, " b"]
    steps: Int[Tensor, " b"]
    credit: Scores
    skipped: Bool[Tensor, " b"]
    flat: Bool[Tensor, " b"]
    scores: Float64[Tensor, "b points"]
    values: Float64[Tensor, "b points"]


def run_losses(
    model: LogitsFn,
    images: Images,
    references: Sequence[Masks],
    losses: Mapping[str, Loss],
    rules: Rules,
    *,
    skipped: Bool[Tensor, "losses b"] | None = None,
    copies: int | None = None,
    until_first: bool = False,
    threat: Threat = _ANYWHERE,
    masks: Masks | None = None,
) -> list[Run]:
    """Attack each image with each loss separately, several losses per forward pass.

    A batch contains one copy of all images for each loss. The copies are attacked independently, so
    the number of losses in a batch changes results only by rounding.

    Args:
        model: Maps images to logits; if it holds prompts, see
            :func:`palpate.attacks.core.selection.restrict`.
        images: Clean images in [0, 1].
        references: For each loss, the masks that scores and loss are computed with: the ground
            truth, or the target masks.
        losses: Losses by name. Of equally good ones, the first is preferred.
        rules: Steps of the attack and criterion of success.
        skipped: For each loss, which images are not attacked.
        copies: Losses per batch; None for all. Halved automatically if an accelerator runs out of
            memory.
        until_first: Stop attacking an image once one loss has succeeded on it. The loss that
            :func:`fewest_steps` chooses is the same; the runs of the others may be incomplete.
        threat: Threat model of the perturbation.
        masks: Masks that the threat model refers to; by default those of the first loss.

    Returns:
        One run for each loss, in order.

    Raises:
        ValueError: If ``copies`` is less than one, or logits or losses have the wrong shape.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from a loss to the pixels.
    """
    if copies is not None and copies < 1:
        raise ValueError(f"Expected copies >= 1, got {copies}.")
    if skipped is None:
        skipped = torch.zeros(len(losses), len(images), dtype=torch.bool)
    masks = references[0] if masks is None else masks
    names = list(losses)
    fewest = torch.full((len(images),), _NEVER)

    def run_group(places: list[int]) -> list[Run]:
        chosen = {names[place]: losses[names[place]] for place in places}
        quickest = fewest if until_first else None
        group = _LossGroup(model, images, chosen, rules, quickest, threat, masks)
        done = group.run([references[place] for place in places], skipped[places])
        for run in done:
            fewest.copy_(torch.where(run.success, fewest.minimum(run.steps), fewest))
        return done

    return Portions(copies or len(names)).run(run_group, range(len(names)))


def fewest_steps(runs: Sequence[Run], rules: Rules) -> list[int]:
    """Parallel fusion: for each image, the index of the best run.

    The best run is the one that succeeded in the fewest steps; ties are resolved by the best score,
    then by order. If none succeeded, it is the one with the best score; ties are resolved by the
    fewest steps, then by order. Runs that skipped an image come last.
    """
    ranks = [rules.rank(run.credit).tolist() for run in runs]

    def key(place: int, image: int) -> tuple[int, float, float]:
        run, steps = runs[place], float(runs[place].steps[image])
        if run.skipped[image]:
            return (2, 0.0, 0.0)
        if run.success[image]:
            return (0, steps, -ranks[place][image])
        return (1, -ranks[place][image], steps)

    count = len(runs[0].images)
    return [min(range(len(runs)), key=lambda place: key(place, image)) for image in range(count)]


@dataclass(frozen=True)
class _LossGroup:
    """A group of losses, each with its own copy of the images, in one batch."""

    model: LogitsFn
    images: Images
    losses: Mapping[str, Loss]
    rules: Rules
    fewest: Int[Tensor, " b"] | None  # steps of the quickest success so far; None: run to the end
    threat: Threat
    masks: Masks

    def run(self, references: Sequence[Masks], skipped: Bool[Tensor, "losses b"]) -> list[Run]:
        count, rules = len(self.images), self.rules
        problem, left = self._problem(references), ~skipped.flatten()
        record = _Record(problem.images, ~left, rules)
        fewest = None if self.fewest is None else self.fewest.clone()
        problem, copies_left = _select(problem, left), left.nonzero().flatten()
        here = problem.images
        for index in range(rules.points):
            if len(problem.rows) == 0:
                break
            after = f"after {index} of {rules.steps} steps with {', '.join(self.losses)}"
            point = evaluate_point(
                problem,
                here,
                differentiable=index < rules.points - 1,
                after=after,
                progress=index / rules.steps,
                maps=rules.faithful,
            )
            score = rules.score(point.logits, problem.masks).cpu()
            record.enter(copies_left, index, point, score)
            going = ~rules.stops(score) if rules.counts(index) else torch.ones_like(score) > 0
            if fewest is not None:
                step = rules.number(index)
                # All copies in the batch are at the same step, so this success is not later than
                # any other of them.
                fewest[problem.rows[record.success[copies_left]]] = step
                going &= step < fewest[problem.rows]
            if index < rules.points - 1 and going.any():
                gradient = pixel_gradient(problem, point, after=after)
                masks = self.masks[problem.rows]
                free = self.threat.project(gradient, masks)
                record.flat[copies_left] |= is_stuck(problem, point, free).cpu()
                here = rules.move(problem.images, here, gradient, masks, self.threat)
            problem, here = _select(problem, going), here[going.to(here.device)]
            copies_left = copies_left[going]
        return record.by_loss(list(self.losses), count)

    def _problem(self, references: Sequence[Masks]) -> Problem:
        """The problem with one copy of all images per loss.

        Its ``rows`` are positions in the caller's batch, so copies of an image have the same row.
        """
        copies, count = len(self.losses), len(self.images)
        places, owners = torch.arange(count).repeat(copies), torch.arange(copies)
        owners = owners.repeat_interleave(count)
        return Problem.of_batch(
            model=restrict(self.model, places.tolist(), count),
            images=self.images.repeat(copies, 1, 1, 1),
            masks=torch.cat(list(references)),
            loss=LossPerImage(tuple(self.losses.values()), owners),
            targeted=self.rules.targeted,
            rows=places,
            threshold=0.0 if self.rules.faithful else self.rules.threshold,
        )


class _Record:
    """The result so far for each copy of each image."""

    def __init__(self, images: Images, skipped: Bool[Tensor, " n"], rules: Rules) -> None:
        count = len(images)
        self.rules, self.skipped, self.images = rules, skipped, images.clone()
        self.success = torch.zeros(count, dtype=torch.bool)
        self.flat = torch.zeros(count, dtype=torch.bool)
        self.steps = torch.zeros(count, dtype=torch.int64)
        self.credit = torch.full((count,), torch.nan, dtype=torch.float64)
        self.scores = torch.full((count, rules.points), torch.nan, dtype=torch.float64)
        self.values = self.scores.clone()

    def enter(
        self, rows: Int[Tensor, " k"], index: int, point: EvaluatedPoint, score: Scores
    ) -> None:
        """Record point number ``index`` of the copies in ``rows``."""
        rules = self.rules
        harm = point.harm.detach().double().cpu()
        self.scores[rows, index] = score
        self.values[rows, index] = -harm if rules.targeted else harm
        if not rules.counts(index):
            return
        credit = rules.credit(score)
        won, rank, best = rules.succeeds(credit), rules.rank(credit), rules.rank(self.credit[rows])
        # ``~(rank <= best)`` is true where best is NaN, as it is before the first point.
        better = ~self.success[rows] & (won | ~(rank <= best))
        chosen = rows[better]
        device = self.images.device
        self.images[chosen.to(device)] = point.images.detach()[better.to(device)]
        self.steps[chosen], self.credit[chosen] = rules.number(index), credit[better]
        self.success[chosen] = won[better]

    def by_loss(self, names: Sequence[str], count: int) -> list[Run]:
        """Split the record into one run for each loss; the copies of a loss are adjacent."""
        parts = [slice(place * count, (place + 1) * count) for place in range(len(names))]
        return [
            Run(
                loss=name,
                images=self.images[part],
                success=self.success[part],
                steps=self.steps[part],
                credit=self.credit[part],
                skipped=self.skipped[part],
                flat=self.flat[part],
                scores=self.scores[part],
                values=self.values[part],
            )
            for name, part in zip(names, parts, strict=True)
        ]


def _select(problem: Problem, wanted: Bool[Tensor, " b"]) -> Problem:
    """The problem restricted to the ``wanted`` copies, each with its own loss."""
    assert isinstance(problem.loss, LossPerImage)
    loss = problem.loss.select(wanted)
    return replace(problem.select(wanted.to(problem.images.device)), loss=loss)


@dataclass(frozen=True)
class LossPerImage:
    """A loss that applies a different loss to each image of a batch.

    Attributes:
        losses: The losses.
        owners: For each image, the index of its loss; on the CPU.
    """

    losses: tuple[Loss, ...]
    owners: Int[Tensor, " b"]

    def __call__(self, logits: Maps, masks: Masks) -> PerImage:
        """The value of each image under its own loss."""
        values = logits.new_zeros(len(logits))
        for place, loss in enumerate(self.losses):
            rows = (self.owners == place).nonzero().flatten().to(logits.device)
            if len(rows):
                value = as_one_per_image(loss(logits[rows], masks[rows]), len(rows))
                values = values.index_put((rows,), value.to(values))
        return values

    def at(self, progress: float, *, targeted: bool = False) -> Loss:
        """The loss to maximise at one step of the attack; scheduled losses are fixed at it."""
        losses = tuple(_at(loss, progress, targeted) for loss in self.losses)
        changed = any(now is not loss for now, loss in zip(losses, self.losses, strict=True))
        return LossPerImage(losses, self.owners) if changed else self

    def select(self, wanted: Bool[Tensor, " b"]) -> "LossPerImage":
        """The loss for the ``wanted`` images only."""
        return LossPerImage(self.losses, self.owners[wanted.cpu()])


def name_of(loss: Loss) -> str:
    """The name of a loss, as used in tables."""
    return getattr(loss, "__name__", type(loss).__name__)


def _at(loss: Loss, progress: float, targeted: bool) -> Loss:
    return loss.at(progress, targeted=targeted) if isinstance(loss, ScheduledLoss) else loss
