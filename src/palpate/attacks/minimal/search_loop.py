"""The loop shared by all gradient attacks that search for the smallest perturbation."""

from collections.abc import Callable
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.attacks.core.checks import check_images, check_schedule
from palpate.attacks.core.gradient_step import (
    evaluate_point,
    is_flat,
    pixel_gradient,
    warn_if_flat,
)
from palpate.attacks.core.levels import check_levels, rounded
from palpate.attacks.core.problem import Problem
from palpate.attacks.minimal.dice_goal import Goal
from palpate.attacks.minimal.shortest import Shortest, warn_if_unbroken
from palpate.geometry import perturb, project
from palpate.types import Images, Logits, LogitsFn, Masks, Norm, PerImage


@runtime_checkable
class UpdateRule(Protocol):
    """The loss and the update of a minimal-norm attack.

    A rule may keep tensors as attributes. Each must have one entry per image of the batch:
    :func:`search` drops the entries of images that are finished.

    Attributes:
        stops: Whether an image is finished at its first success.
        goal: The Dice score that counts as success.
        norm: Norm of the perturbation to minimise.
        max_epsilon: Largest perturbation that is accepted, in that norm.
    """

    stops: bool
    goal: Goal
    norm: Norm
    max_epsilon: float

    def loss(self, logits: Logits, masks: Masks) -> PerImage:
        """The value to ascend, one per image, from the logits at the current point."""
        ...

    def move(
        self, images: Images, adversarial: Images, gradient: Images, reached: Bool[Tensor, " b"]
    ) -> Images:
        """The next point.

        Args:
            images: Clean images.
            adversarial: Current point.
            gradient: Gradient of :meth:`loss` with respect to the pixels of that point.
            reached: Which images meet the goal at that point.
        """
        ...


def search(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    rule: UpdateRule,
    *,
    steps: int,
    levels: int | None = None,
) -> Images:
    """Update the images by ``rule`` and return the shortest successful perturbation seen.

    ``steps`` updates cost ``steps + 1`` forward and ``steps`` backward passes. The first pass
    evaluates the clean images; those that already meet the goal are returned unchanged. Each point
    is scored in the forward pass of the step that starts from it.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, prompts bound.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth, or the target of a targeted attack.
        rule: Loss and update of the attack.
        steps: Maximum number of updates.
        levels: Number of values a pixel may take. The model sees every point rounded to them, and
            a rounded point is returned. The updates themselves continue from the unrounded point,
            because rounding would undo short steps. None does not round.

    Returns:
        For each image the shortest success, detached; the clean image where there was none.
    """
    check_images(images, masks)
    check_schedule(steps, 1, None)
    check_levels(levels)
    goal = rule.goal
    with torch.inference_mode(False), torch.no_grad():
        # Clones, because tensors made in inference mode cannot take part in a gradient.
        problem = Problem.of_batch(model, images.clone(), masks.clone(), rule.loss)
        _replace_tensors(rule, torch.clone)
        adversarial = problem.images
        shortest = Shortest(adversarial, rule.norm, rule.max_epsilon)
        flat = torch.zeros(len(images), dtype=torch.bool)
        for step in range(steps + 1):
            after = f"after {step} of {steps} steps"
            seen = rounded(adversarial, levels)
            point = evaluate_point(
                problem,
                seen,
                differentiable=step < steps,
                after=after,
                progress=step / steps,
            )
            reached = goal.is_reached(point.logits, problem.masks)
            shortest.update(problem.rows, seen, reached)
            # A clean image that is a success already is finished under every rule.
            going = ~reached if rule.stops or step == 0 else torch.ones_like(reached)
            if step == steps or not going.any():
                break
            gradient = pixel_gradient(problem, point, after=after)
            # Where the goal is reached, a zero gradient is expected, so it is no cause to warn.
            flat[problem.rows] |= (is_flat(gradient) & ~reached).cpu()
            adversarial = rule.move(problem.images, adversarial, gradient, reached)[going]
            problem = problem.select(going)
            if not going.all():
                _replace_tensors(rule, partial(_rows_of, going))
    warn_if_flat(flat)
    warn_if_unbroken(shortest, rule.max_epsilon, rule.norm, str(goal))
    return shortest.adversarial


def project_to_valid(images: Images, delta: Images, max_epsilon: float, norm: Norm) -> Images:
    """Project ``delta`` on the ball, add it to ``images`` and clip to [0, 1]."""
    return perturb(images, project(delta, max_epsilon, norm))


def per_image(values: PerImage) -> Tensor:
    """Reshape values from ``(b,)`` to ``(b, 1, 1, 1)``, to multiply images by them."""
    return values.view(-1, 1, 1, 1)


def _rows_of(going: Bool[Tensor, " b"], state: Tensor) -> Tensor:
    return state[going]


def _replace_tensors(rule: UpdateRule, change: Callable[[Tensor], Tensor]) -> None:
    for name, value in vars(rule).items():
        if isinstance(value, Tensor):
            setattr(rule, name, change(value))
