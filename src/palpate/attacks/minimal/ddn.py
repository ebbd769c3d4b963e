"""Decoupled direction and norm: the length of the perturbation is steered by success alone."""

import math
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.attacks.core.levels import check_levels, rounded
from palpate.attacks.minimal.dice_goal import Goal
from palpate.attacks.minimal.search_loop import per_image, search, valid
from palpate.attacks.minimal.shortest import largest_radius
from palpate.geometry import norms, steepest
from palpate.types import Images, Logits, LogitsFn, Loss, Masks, PerImage, Randomness


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
    generator: Randomness = None,  # noqa: ARG001 - all attacks are called alike
    threshold: float = 0.0,
) -> Images:
    r"""Decoupled direction and norm (Rony et al., 2019, https://arxiv.org/abs/1811.09600).

    Looks for the shortest L2 perturbation. After each step along the normalised gradient the
    perturbation is given the length :math:`\epsilon`, which shrinks by 5 % where the goal is
    reached and grows by 5 % where it is not.

    The published attack is on classifiers. Here the goal is a Dice score, which takes some pixels
    only: by default the gradient is that of the sum of squares by which the cheapest pixels that
    suffice fall short, chosen anew at every step. Steps are in units of the present length, as
    the published ones are at its first length of 1: a model that breaks at a tenth of it would
    otherwise see the last gradient alone.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, prompts bound.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        tau: Dice score with ``masks`` that counts as success, at or below; with ``targeted`` at
            or above.
        max_epsilon: Longest perturbation that is accepted, in L2; None for any.
        steps: Updates.
        step_size: The first step as a multiple of the length; falls along a cosine to a
            hundredth of it.
        start_epsilon: First length of the perturbation.
        change: Share by which the length grows or shrinks at each step.
        levels: Values a pixel may take, 256 for those of 8-bit files: every iterate is rounded
            to them, as in the published attack, and success is that of the rounded image. An
            image that is not broken comes back as it was. None does not round.
        norm: ``"l2"``, the only one there is.
        loss: Maximised instead of the default, one value per image.
        targeted: Approach ``masks`` instead of leaving them.
        generator: Ignored; nothing is random here.
        threshold: Logits above it are foreground.

    Returns:
        For each image the shortest success on the way, detached; the clean image where that is
        one already, or where there was none.

    Raises:
        ValueError: If images, masks, budgets, logits or loss are not as described.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from the loss to the pixels.

    Warns:
        UnbrokenWarning: If some image was not broken.
        ZeroGradientWarning: If the gradient of an image not broken was zero everywhere.
    """
    _check(norm, step_size, start_epsilon, change, levels)
    goal = Goal(tau, targeted, threshold)
    bound = largest_radius(norm, max_epsilon)
    rule = _Steer(goal, loss, images, steps, step_size, start_epsilon, change, levels, bound)
    return search(model, images, masks, rule, goal=goal, steps=steps, norm=norm, max_epsilon=bound)


class _Steer:
    stops = False

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
        return self.goal.pull(logits, masks, "l2")

    def move(
        self, images: Images, adversarial: Images, gradient: Images, reached: Bool[Tensor, " b"]
    ) -> Images:
        turn = (1 + math.cos(math.pi * self.step / self.steps)) / 2
        stride = self.step_size * (0.01 + 0.99 * turn) * self.length
        self.step += 1
        delta = adversarial - images + per_image(stride) * steepest(gradient, "l2")
        change = torch.where(reached, 1 - self.change, 1 + self.change)
        self.length = (self.length * change).clamp_max(self.max_epsilon)
        # A model without a gradient leaves nothing to lengthen.
        long = norms(delta, "l2")
        factor = torch.where(long > 0, self.length / long, torch.zeros_like(long))
        moved = valid(images, delta * per_image(factor), self.max_epsilon, "l2")
        return rounded(moved, self.levels)


def _check(
    norm: str, step_size: float, start_epsilon: float, change: float, levels: int | None
) -> None:
    if norm != "l2":
        raise ValueError(f"Expected norm 'l2', the only one of DDN, got {norm!r}; try pdpgd.")
    if not 0 < step_size < math.inf or not 0 < start_epsilon < math.inf:
        raise ValueError(
            f"Expected a finite step_size and start_epsilon > 0, got {step_size} and "
            f"{start_epsilon}."
        )
    if not 0 < change < 1:
        raise ValueError(f"Expected 0 < change < 1, a share of the length, got {change}.")
    check_levels(levels)
