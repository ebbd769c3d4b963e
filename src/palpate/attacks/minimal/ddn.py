"""Decoupled direction and norm (DDN): an L2 attack that adapts the norm by success."""

import math
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.attacks.core.levels import check_levels, rounded
from palpate.attacks.minimal.dice_goal import Goal
from palpate.attacks.minimal.search_loop import per_image, project_to_valid, search
from palpate.attacks.minimal.shortest import largest_radius
from palpate.geometry import norms, steepest
from palpate.types import Images, Logits, LogitsFn, Loss, Masks, Norm, PerImage, Randomness


def ddn(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    tau: float = 0.5,
    max_epsilon: float | None = None,
    steps: int = 100,
    step_size: float = 1.0,
    start_epsilon: float = 1.0,
    change: float = 0.05,
    levels: int | None = None,
    norm: Literal["l2"] = "l2",
    loss: Loss | None = None,
    targeted: bool = False,
    generator: Randomness = None,  # noqa: ARG001 - every attack accepts a generator
    threshold: float = 0.0,
) -> Images:
    r"""Decoupled direction and norm (Rony et al., 2019, https://arxiv.org/abs/1811.09600).

    Looks for the shortest L2 perturbation. After each step along the normalised gradient, the
    perturbation is rescaled to the length :math:`\epsilon`, which shrinks by 5 % if the goal is
    reached and grows by 5 % if it is not.

    The published attack is on classifiers. Here the goal is a Dice score, which is reached by
    changing some of the pixels. By default the loss is minus the sum of the squared shortfalls of
    the cheapest pixels that suffice; they are selected anew at every step. Step sizes are relative
    to the current length, which equals the published form at a length of 1. For a model that breaks
    at a tenth of this length, an absolute step would be too long: each step would replace the
    perturbation by the last gradient.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, prompts bound.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        tau: An attack succeeds if the Dice score with ``masks`` is at most this (targeted: at
            least this), in [0, 1].
        max_epsilon: Largest perturbation that is accepted, in L2 and in units of pixel value; None
            for any.
        steps: Number of updates.
        step_size: First step size as a multiple of the length; decays along a cosine to a
            hundredth of that.
        start_epsilon: Initial length of the perturbation, in units of pixel value.
        change: Fraction by which the length grows or shrinks at each step, in (0, 1).
        levels: Number of values a pixel may take, 256 for 8-bit images. Every iterate is rounded
            to them, as in the published attack, and success is judged on the rounded image. None
            does not round.
        norm: ``"l2"``, the only norm supported.
        loss: Loss to maximise instead of the default, one value per image.
        targeted: Approach ``masks`` instead of leaving them.
        generator: Ignored; the attack is deterministic.
        threshold: Logits above it are foreground.

    Returns:
        For each image the shortest success found, detached; the clean image if it is a success
        already, or if none was found.

    Raises:
        ValueError: If images, masks, budgets, logits or loss are not as described.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from the loss to the pixels.

    Warns:
        UnbrokenWarning: If no success was found for some image.
        ZeroGradientWarning: If the gradient of an image was zero everywhere before a success.
    """
    _check(norm, step_size, start_epsilon, change, levels)
    goal = Goal(tau, targeted, threshold)
    bound = largest_radius(norm, max_epsilon)
    rule = _DdnRule(goal, loss, images, steps, step_size, start_epsilon, change, levels, bound)
    return search(model, images, masks, rule, steps=steps)


class _DdnRule:
    """The loss and update of DDN, with the current length for each image."""

    stops = False
    norm: Norm = "l2"

    def __init__(
        self,
        goal: Goal,
        loss: Loss | None,
        images: Images,
        steps: int,
        step_size: float,
        start_epsilon: float,
        change: float,
        levels: int | None,
        max_epsilon: float,
    ) -> None:
        self.goal, self.given = goal, loss
        self.steps, self.step_size, self.change = steps, step_size, change
        self.levels, self.max_epsilon = levels, max_epsilon
        self.length = torch.full((len(images),), start_epsilon).to(images)
        self.step = 0

    def loss(self, logits: Logits, masks: Masks) -> PerImage:
        if self.given is not None:
            value = self.given(logits - self.goal.threshold, masks)
            return -value if self.goal.targeted else value
        return self.goal.negative_shortfall(logits, masks, "l2")

    def move(
        self, images: Images, adversarial: Images, gradient: Images, reached: Bool[Tensor, " b"]
    ) -> Images:
        # Cosine decay of the step size from 1 to 0.01.
        turn = (1 + math.cos(math.pi * self.step / self.steps)) / 2
        stride = self.step_size * (0.01 + 0.99 * turn) * self.length
        self.step += 1
        delta = adversarial - images + per_image(stride) * steepest(gradient, "l2")
        change = torch.where(reached, 1 - self.change, 1 + self.change)
        self.length = (self.length * change).clamp_max(self.max_epsilon)
        # With a gradient of zero there is no direction whose length could be changed.
        long = norms(delta, "l2")
        factor = torch.where(long > 0, self.length / long, torch.zeros_like(long))
        moved = project_to_valid(images, delta * per_image(factor), self.max_epsilon, "l2")
        return rounded(moved, self.levels)


def _check(
    norm: str, step_size: float, start_epsilon: float, change: float, levels: int | None
) -> None:
    if norm != "l2":
        raise ValueError(f"Expected norm 'l2', the only one of ddn, got {norm!r}; try pdpgd.")
    if not 0 < step_size < math.inf or not 0 < start_epsilon < math.inf:
        raise ValueError(
            f"Expected a finite step_size and start_epsilon > 0, got {step_size} and "
            f"{start_epsilon}."
        )
    if not 0 < change < 1:
        raise ValueError(f"Expected 0 < change < 1, a share of the length, got {change}.")
    check_levels(levels)
