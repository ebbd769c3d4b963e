"""One run of APGD: momentum, and a step size that each image halves for itself."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.attacks.core.best import Best, is_worst, rank
from palpate.attacks.core.gradient_step import is_stuck, look, slope
from palpate.attacks.core.problem import Problem
from palpate.attacks.threats import Threat
from palpate.overlap import count, dice
from palpate.types import Images, Masks, Norm, PerImage

_MOMENTUM = 0.75  # share of a move that is the new step
_ENOUGH = 0.75  # share of the steps that must raise the loss


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
    """Climb from ``start`` and show every point to ``best``.

    Args:
        problem: What is attacked.
        start: One point of the ball for each image of ``problem``.
        best: Told of every point, by the place of its image in the caller's batch.
        epsilon: Radius of the ball; the first step is twice as long.
        steps: Moves to make; costs one forward pass more and as many backward passes.
        norm: Norm of the ball.
        threat: Where and how the perturbation may differ from the image.
        threshold: Logits above it are foreground when the Dice score is taken.
        keep: ``"dice"`` or ``"loss"``: what ``best`` goes by.
        early_stop: Leave images alone once nothing worse can happen to them.
        start_counts: Whether ``best`` is shown the start too.
        during: Name of the run, for error messages.

    Returns:
        What is left of the problem, and which images of the caller's batch had no gradient at
        some step.
    """
    flat = torch.zeros(len(best.adversarial), dtype=torch.bool)
    checkpoints = place_checkpoints(steps)
    here, climb = start, None
    for step in range(steps + 1):
        if len(problem.rows) == 0:
            break
        after = f"after {step} of {steps} steps of {during}"
        view = look(problem, here, differentiable=step < steps, after=after, progress=step / steps)
        scores = dice(count(view.logits > threshold, problem.masks)).to(here)
        counts = step > 0 or start_counts
        if counts:
            best.consider(problem.rows, here, rank(scores, keep, problem.targeted), view.harm)
        finished = is_worst(scores, problem.masks, targeted=problem.targeted)
        going = ~finished if early_stop and counts else torch.ones_like(finished)
        if step == steps or not going.any():
            problem = problem.select(going)
            break
        gradient = slope(problem, view, after=after)
        free = threat.project(gradient, problem.masks)
        flat[problem.rows] |= is_stuck(problem, view, free).cpu()
        harm = view.harm.detach()
        if climb is None:
            climb = _Climb.begin(here, gradient, harm, 2 * epsilon)
        else:
            climb.arrive(here, gradient, harm)
        if step in checkpoints:
            climb.revise(checkpoints[step])
        problem, climb = problem.select(going), climb.select(going)
        share = 1.0 if step == 0 else _MOMENTUM
        here = climb.move(problem.images, problem.masks, epsilon, norm, threat, share)
    return problem, flat


def place_checkpoints(steps: int) -> dict[int, int]:
    """After which steps the step size is reconsidered, and how many steps each looks back on.

    The first is at 22 % of the steps; from one to the next the distance shrinks by 3 %, down to
    6 % (Croce & Hein, 2020, section 3.2).

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
class _Climb:
    """Where each image stands; a row of every field belongs to one image and to no other."""

    before: Images
    here: Images
    gradient: Images  # here
    harm: PerImage  # here
    size: PerImage  # length of the next step
    top: Images  # the point of most harm
    top_gradient: Images
    top_harm: PerImage
    rises: PerImage  # steps since the last checkpoint that did more harm
    top_harm_before: PerImage  # at the last checkpoint
    halved: Bool[Tensor, " b"]  # at the last checkpoint

    @classmethod
    def begin(cls, here: Images, gradient: Images, harm: PerImage, size: float) -> "_Climb":
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
        """Take note of a point that :meth:`move` gave."""
        self.before, self.here, self.gradient = self.here, here, gradient
        self.rises = self.rises + (harm > self.harm)
        self.harm = harm
        better = harm > self.top_harm
        self.top = _where(better, here, self.top)
        self.top_gradient = _where(better, gradient, self.top_gradient)
        self.top_harm = torch.where(better, harm, self.top_harm)

    def revise(self, steps: int) -> None:
        """Where the last steps were of little use, halve the next and go back to the top."""
        unsteady = self.rises < _ENOUGH * steps
        stale = ~self.halved & (self.top_harm == self.top_harm_before)
        self.halved = unsteady | stale
        self.size = torch.where(self.halved, self.size / 2, self.size)
        self.here = _where(self.halved, self.top, self.here)
        self.gradient = _where(self.halved, self.top_gradient, self.gradient)
        self.harm = torch.where(self.halved, self.top_harm, self.harm)
        self.top_harm_before = self.top_harm
        self.rises = torch.zeros_like(self.rises)

    def select(self, wanted: Bool[Tensor, " b"]) -> "_Climb":
        """What is left when only ``wanted`` images go on."""
        return _Climb(*(getattr(self, field.name)[wanted] for field in fields(self)))

    def move(
        self,
        images: Images,
        masks: Masks,
        epsilon: float,
        norm: Norm,
        threat: Threat,
        share: float,
    ) -> Images:
        """The next point: a share of a step, and the rest of the last move once more."""
        step = self.size.view(-1, 1, 1, 1) * threat.direction(self.gradient, masks, norm)
        stepped = threat.settle(images, self.here - images + step, masks, epsilon, norm)
        moved = share * (stepped - self.here) + (1 - share) * (self.here - self.before)
        return threat.settle(images, self.here - images + moved, masks, epsilon, norm)


def _where(rows: Bool[Tensor, " b"], these: Images, others: Images) -> Images:
    return torch.where(rows.view(-1, 1, 1, 1), these, others)
