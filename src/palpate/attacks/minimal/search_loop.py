"""The loop of all gradient attacks that look for the smallest perturbation."""

from collections.abc import Callable
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.attacks.core.checks import check_images, check_schedule
from palpate.attacks.core.gradient_step import is_flat, look, slope, warn_if_flat
from palpate.attacks.core.levels import check_levels, rounded
from palpate.attacks.core.problem import Problem
from palpate.attacks.minimal.dice_goal import Goal
from palpate.attacks.minimal.shortest import Shortest, warn_if_unbroken
from palpate.geometry import perturb, project
from palpate.types import Images, Logits, LogitsFn, Masks, Norm, PerImage


@runtime_checkable
class Rule(Protocol):
    """What one attack does at each step; its tensors have one entry per image of the batch."""

    stops: bool  # whether an image is done at its first success

    def loss(self, logits: Logits, masks: Masks) -> PerImage:
        """What to climb from the point where the model was just run."""
        ...

    def move(
        self, images: Images, adversarial: Images, gradient: Images, reached: Bool[Tensor, " b"]
    ) -> Images:
        """The next point; ``gradient`` is that of :meth:`loss` with respect to the pixels."""
        ...


def search(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    rule: Rule,
    *,
    goal: Goal,
    steps: int,
    norm: Norm,
    max_epsilon: float,
    levels: int | None = None,
) -> Images:
    """Walk as ``rule`` says, and give back the shortest point on the way that reached the goal.

    ``steps`` updates are ``steps + 1`` forward and ``steps`` backward passes, the first of them
    on the clean images: those that meet the goal there come back at once. Each point is scored
    by the forward pass of the step that leaves it.

    With ``levels`` the model sees every point rounded to so many values, and it is such a point
    that comes back; the walk goes on from where it was, for rounding would take short steps back.
    """
    check_images(images, masks)
    check_schedule(steps, 1, None)
    check_levels(levels)
    with torch.inference_mode(False), torch.no_grad():
        # Clones: what a caller made in inference mode cannot take part in a gradient.
        problem = Problem(
            model, images.clone(), masks.clone(), rule.loss, False, torch.arange(len(images))
        )
        _for_each_tensor(rule, torch.clone)
        adversarial = problem.images
        shortest = Shortest(adversarial, norm, max_epsilon)
        flat = torch.zeros(len(images), dtype=torch.bool)
        for step in range(steps + 1):
            after = f"after {step} of {steps} steps"
            seen = rounded(adversarial, levels)
            view = look(
                problem,
                seen,
                differentiable=step < steps,
                after=after,
                progress=step / steps,
            )
            reached = goal.is_reached(view.logits, problem.masks)
            shortest.consider(problem.rows, seen, reached)
            going = ~reached if rule.stops or step == 0 else torch.ones_like(reached)
            if step == steps or not going.any():
                break
            gradient = slope(problem, view, after=after)
            # Past the goal there may be nothing left to climb, and that is no defect.
            flat[problem.rows] |= (is_flat(gradient) & ~reached).cpu()
            adversarial = rule.move(problem.images, adversarial, gradient, reached)[going]
            problem = problem.select(going)
            if not going.all():
                _for_each_tensor(rule, partial(_some, going))
    warn_if_flat(flat)
    warn_if_unbroken(shortest, max_epsilon, norm, str(goal))
    return shortest.adversarial


def valid(images: Images, delta: Images, max_epsilon: float, norm: Norm) -> Images:
    """The images moved by ``delta``, inside the ball and the pixel range."""
    return perturb(images, project(delta, max_epsilon, norm))


def per_image(values: PerImage) -> Tensor:
    """To be multiplied with images."""
    return values.view(-1, 1, 1, 1)


def _some(going: Bool[Tensor, " b"], state: Tensor) -> Tensor:
    return state[going]


def _for_each_tensor(rule: Rule, change: Callable[[Tensor], Tensor]) -> None:
    for name, value in vars(rule).items():
        if isinstance(value, Tensor):
            setattr(rule, name, change(value))
