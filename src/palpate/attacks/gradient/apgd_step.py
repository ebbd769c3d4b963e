"""One run of APGD: steps with momentum, and a step size that is adapted for each image."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.attacks.core.best import Best, is_worst, rank
from palpate.attacks.core.gradient_step import evaluate_point, is_stuck, pixel_gradient
from palpate.attacks.core.problem import Problem
from palpate.attacks.threats import Threat
from palpate.overlap import count, dice
from palpate.types import Images, Masks, Norm, PerImage

_MOMENTUM = 0.75  # weight of the new step in a move; the last move has the remaining weight
_ENOUGH = 0.75  # fraction of the steps that must raise the loss to keep the step size


def ascend(
    problem: Problem,
    start: Images,
    best: Best,
    *,
    epsilon: float,
    steps: int,
    norm: Norm,
    threat: Threat,
    threshold: float,
    keep: str,
    early_stop: bool,
    start_counts: bool,
    during: str,
) -> tuple[Problem, Bool[Tensor, " n"]]:
    """Ascend the loss from ``start`` and record every point in ``best``.

    Args:
        problem: The images under attack.
        start: One point of the ball for each image of ``problem``.
        best: Updated with every point.
        epsilon: Radius of the ball; the first step is twice as long.
        steps: Number of updates; costs as many backward passes and one forward pass more.
        norm: Norm of the ball.
        threat: Threat model of the perturbation.
        threshold: Logits above it are foreground.
        keep: Criterion by which points are compared: ``"dice"`` or ``"loss"``.
        early_stop: Stop attacking images whose Dice score is the worst possible.
        start_counts: Whether the start is recorded in ``best`` too.
        during: Name of the run, for error messages.

    Returns:
        The problem restricted to the unfinished images, and a flag for each image of the caller's
        batch: whether its gradient was zero at some step.
    """
    flat = torch.zeros(len(best.adversarial), dtype=torch.bool)
    checkpoints = place_checkpoints(steps)
    here, state = start, None
    for step in range(steps + 1):
        if len(problem.rows) == 0:
            break
        after = f"after {step} of {steps} steps of {during}"
        point = evaluate_point(
            problem, here, differentiable=step < steps, after=after, progress=step / steps
        )
        scores = dice(count(point.logits > threshold, problem.masks)).to(here)
        counts = step > 0 or start_counts
        if counts:
            best.update(problem.rows, here, rank(scores, keep, problem.targeted), point.harm)
        finished = is_worst(scores, problem.masks, targeted=problem.targeted)
        going = ~finished if early_stop and counts else torch.ones_like(finished)
        if step == steps or not going.any():
            problem = problem.select(going)
            break
        gradient = pixel_gradient(problem, point, after=after)
        free = threat.project(gradient, problem.masks)
        flat[problem.rows] |= is_stuck(problem, point, free).cpu()
        harm = point.harm.detach()
        if state is None:
            state = _State.begin(here, gradient, harm, 2 * epsilon)
        else:
            state.arrive(here, gradient, harm)
        if step in checkpoints:
            state.revise(checkpoints[step])
        problem, state = problem.select(going), state.select(going)
        share = 1.0 if step == 0 else _MOMENTUM  # the first step has no move before it
        here = state.move(problem.images, problem.masks, epsilon, norm, threat, share)
    return problem, flat


def place_checkpoints(steps: int) -> dict[int, int]:
    """The checkpoints: the steps after which the step size may be halved.

    The first is at 22 % of the steps. Each interval is shorter than the one before by 3 % of the
    steps, but at least 6 % long (Croce & Hein, 2020, section 3.2).

    Returns:
        For each checkpoint, the number of steps since the previous one.

    >>> list(place_checkpoints(100))
    [22, 41, 57, 70, 80, 87, 93, 99]
    """
    checkpoints, percent, gap, last = {}, 22, 22, 0
    while percent <= 100:
        step = -(-percent * steps // 100)  # rounded up
        if step > last:
            checkpoints[step] = step - last
        gap, last = max(gap - 3, 6), step
        percent += gap
    return checkpoints


@dataclass
class _State:
    """The state of a run. Every field has one row per image, so images do not affect each other."""

    before: Images
    here: Images
    gradient: Images  # at ``here``
    harm: PerImage  # at ``here``
    size: PerImage  # length of the next step
    top: Images  # the point of highest harm so far
    top_gradient: Images
    top_harm: PerImage
    rises: PerImage  # number of steps since the last checkpoint that raised the harm
    top_harm_before: PerImage  # at the last checkpoint
    halved: Bool[Tensor, " b"]  # at the last checkpoint

    @classmethod
    def begin(cls, here: Images, gradient: Images, harm: PerImage, size: float) -> "_State":
        return cls(
            before=here,
            here=here,
            gradient=gradient,
            harm=harm,
            size=torch.full_like(harm, size),
            top=here,
            top_gradient=gradient,
            top_harm=harm,
            rises=torch.zeros_like(harm),
            top_harm_before=harm,
            halved=torch.zeros_like(harm, dtype=torch.bool),
        )

    def arrive(self, here: Images, gradient: Images, harm: PerImage) -> None:
        """Record the point that the last :meth:`move` led to."""
        self.before, self.here, self.gradient = self.here, here, gradient
        self.rises = self.rises + (harm > self.harm)
        self.harm = harm
        better = harm > self.top_harm
        self.top = _where(better, here, self.top)
        self.top_gradient = _where(better, gradient, self.top_gradient)
        self.top_harm = torch.where(better, harm, self.top_harm)

    def revise(self, steps: int) -> None:
        """At a checkpoint, halve the step size and go back to the best point on poor progress."""
        unsteady = self.rises < _ENOUGH * steps
        stale = ~self.halved & (self.top_harm == self.top_harm_before)
        self.halved = unsteady | stale
        self.size = torch.where(self.halved, self.size / 2, self.size)
        self.here = _where(self.halved, self.top, self.here)
        self.gradient = _where(self.halved, self.top_gradient, self.gradient)
        self.harm = torch.where(self.halved, self.top_harm, self.harm)
        self.top_harm_before = self.top_harm
        self.rises = torch.zeros_like(self.rises)

    def select(self, wanted: Bool[Tensor, " b"]) -> "_State":
        """The state of the ``wanted`` images only."""
        return _State(*(getattr(self, field.name)[wanted] for field in fields(self)))

    def move(
        self,
        images: Images,
        masks: Masks,
        epsilon: float,
        norm: Norm,
        threat: Threat,
        share: float,
    ) -> Images:
        """The next point: a gradient step times ``share`` plus the last move times the rest."""
        step = self.size.view(-1, 1, 1, 1) * threat.direction(self.gradient, masks, norm)
        stepped = threat.settle(images, self.here - images + step, masks, epsilon, norm)
        moved = share * (stepped - self.here) + (1 - share) * (self.here - self.before)
        return threat.settle(images, self.here - images + moved, masks, epsilon, norm)


def _where(rows: Bool[Tensor, " b"], these: Images, others: Images) -> Images:
    return torch.where(rows.view(-1, 1, 1, 1), these, others)
