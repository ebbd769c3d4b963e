"""Dense adversary generation: pushes all pixels that are not wrong yet, a little at a time."""

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.attacks.core.checks import check_schedule
from palpate.attacks.minimal.dice_goal import Goal
from palpate.attacks.minimal.search_loop import per_image, search, valid
from palpate.attacks.minimal.shortest import largest_radius
from palpate.geometry import norms
from palpate.types import Images, Logits, LogitsFn, Masks, Norm, PerImage, Randomness

_STEPS = {"linf": 0.5 / 255, "l2": 0.05}


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
    generator: Randomness = None,  # noqa: ARG001 - all attacks are called alike
    threshold: float = 0.0,
) -> Images:
    r"""Dense adversary generation (Xie et al., 2017, https://arxiv.org/abs/1703.08603).

    The gradient of the summed logits of all pixels that are not yet on the attacker's side,
    divided by its norm, is added up until the goal is reached, and an image is done there. With
    ``linf`` the largest value of a step is ``step_size`` and the others keep their proportion.
    What would leave the range of pixels is dropped at each step; some implementations keep it in
    the sum.

    With one logit a pixel the adversarial class of the paper is the other one. It pushes every
    pixel where a Dice score takes some only: an upper bound of the radius, not a tight one.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, prompts bound.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        tau: Dice score with ``masks`` that counts as success, at or below; with ``targeted`` at
            or above. The paper goes on until every pixel is wrong.
        max_epsilon: Longest perturbation that is accepted; None for any.
        steps: Most updates.
        step_size: Norm of each step; None is 0.5 / 255 as published, or 0.05 in L2.
        norm: Norm of the steps and of what is compared.
        levels: Values a pixel may take, 256 for those of 8-bit files: the model sees every point
            rounded to them, and so is what comes back. None does not round.
        targeted: Approach ``masks`` instead of leaving them.
        generator: Ignored; nothing is random here.
        threshold: Logits above it are foreground.

    Returns:
        For each image the first success, detached; the clean image where that is one already, or
        where there was none.

    Raises:
        ValueError: If images, masks, budgets or logits are not as described.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from the loss to the pixels.

    Warns:
        UnbrokenWarning: If some image was not broken.
        ZeroGradientWarning: If the gradient of an image not broken was zero everywhere.
    """
    bound = largest_radius(norm, max_epsilon)
    check_schedule(steps, 1, step_size)
    goal = Goal(tau, targeted, threshold)
    rule = _Push(goal, _STEPS[norm] if step_size is None else step_size, norm, bound)
    return search(
        model,
        images,
        masks,
        rule,
        goal=goal,
        steps=steps,
        norm=norm,
        max_epsilon=bound,
        levels=levels,
    )


class _Push:
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
        reached: Bool[Tensor, " b"],  # noqa: ARG002 - all rules are called alike
    ) -> Images:
        size = norms(gradient, self.norm).clamp_min(torch.finfo(gradient.dtype).tiny)
        delta = adversarial - images + gradient * per_image(self.step_size / size)
        return valid(images, delta, self.max_epsilon, self.norm)
