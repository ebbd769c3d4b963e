"""Dense adversary generation (DAG): small steps on all pixels that are still correct."""

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.attacks.core.checks import check_schedule
from palpate.attacks.minimal.dice_goal import Goal
from palpate.attacks.minimal.search_loop import per_image, project_to_valid, search
from palpate.attacks.minimal.shortest import largest_radius
from palpate.geometry import norms
from palpate.types import Images, Logits, LogitsFn, Masks, Norm, PerImage, Randomness

_STEPS = {"linf": 0.5 / 255, "l2": 0.05}  # default step size by norm


def dag(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    tau: float = 0.5,
    max_epsilon: float | None = None,
    steps: int = 200,
    step_size: float | None = None,
    norm: Norm = "linf",
    levels: int | None = None,
    targeted: bool = False,
    generator: Randomness = None,  # noqa: ARG001 - every attack accepts a generator
    threshold: float = 0.0,
) -> Images:
    r"""Dense adversary generation (Xie et al., 2017, https://arxiv.org/abs/1703.08603).

    Each step adds the gradient of the summed logits of all pixels that are not yet on the
    attacker's side, divided by its norm, until the goal is reached. With ``linf`` the largest
    value of a step is ``step_size``, and the others keep their proportion to it. The result is
    clipped to [0, 1] after each step; some implementations keep the unclipped sum.

    With one logit per pixel, the adversarial class of the paper is the other class. The attack aims
    at every pixel, although changing some would suffice for a Dice score, so its perturbations are
    not a tight upper bound of the smallest one.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, prompts bound.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        tau: An attack succeeds if the Dice score with ``masks`` is at most this (targeted: at
            least this), in [0, 1]. The paper continues until every pixel is wrong.
        max_epsilon: Largest perturbation that is accepted, in units of pixel value; None for any.
        steps: Maximum number of updates.
        step_size: Norm of each step, in units of pixel value; None is 0.5 / 255 as published, or
            0.05 in L2.
        norm: Norm of the steps and of the perturbation.
        levels: Number of values a pixel may take, 256 for 8-bit images. The model sees every point
            rounded to them, and a rounded point is returned. None does not round.
        targeted: Approach ``masks`` instead of leaving them.
        generator: Ignored; the attack is deterministic.
        threshold: Logits above it are foreground.

    Returns:
        For each image the first success, detached; the clean image if it is a success already, or
        if none was found.

    Raises:
        ValueError: If images, masks, budgets or logits are not as described.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from the loss to the pixels.

    Warns:
        UnbrokenWarning: If no success was found for some image.
        ZeroGradientWarning: If the gradient of an image was zero everywhere before a success.
    """
    bound = largest_radius(norm, max_epsilon)
    check_schedule(steps, 1, step_size)
    goal = Goal(tau, targeted, threshold)
    rule = _DagRule(goal, _STEPS[norm] if step_size is None else step_size, norm, bound)
    return search(model, images, masks, rule, steps=steps, levels=levels)


class _DagRule:
    """The loss and update of DAG."""

    stops = True

    def __init__(self, goal: Goal, step_size: float, norm: Norm, max_epsilon: float) -> None:
        self.goal, self.step_size = goal, step_size
        self.norm, self.max_epsilon = norm, max_epsilon

    def loss(self, logits: Logits, masks: Masks) -> PerImage:
        return -self.goal.shortfall(logits, masks).relu().flatten(1).sum(1)

    def move(
        self,
        images: Images,
        adversarial: Images,
        gradient: Images,
        reached: Bool[Tensor, " b"],  # noqa: ARG002 - part of the protocol of update rules
    ) -> Images:
        # The lower bound avoids a division by 0: an image without a gradient does not move.
        size = norms(gradient, self.norm).clamp_min(torch.finfo(gradient.dtype).tiny)
        delta = adversarial - images + gradient * per_image(self.step_size / size)
        return project_to_valid(images, delta, self.max_epsilon, self.norm)
