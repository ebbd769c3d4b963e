"""Adaptive segmentation mask attack: paints a mask of the attacker's choice."""

import math
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.attacks.minimal.dice_goal import Goal
from palpate.attacks.minimal.search_loop import per_image, search, valid
from palpate.attacks.minimal.shortest import largest_radius
from palpate.geometry import steepest
from palpate.overlap import count, iou
from palpate.types import Images, Logits, LogitsFn, Masks, PerImage, Randomness


def asma(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    tau: float = 0.5,
    max_epsilon: float | None = None,
    steps: int = 500,
    step_size: float = 0.05,
    least_step: float = 0.005,
    normalise: bool = True,
    norm: Literal["l2"] = "l2",
    levels: int | None = None,
    targeted: bool = False,
    generator: Randomness = None,  # noqa: ARG001 - all attacks are called alike
    threshold: float = 0.0,
) -> Images:
    r"""Adaptive segmentation mask attack (Ozbulak et al., 2019, https://arxiv.org/abs/1907.13124).

    Adds up :math:`(\beta \, IoU + \tau_0)` times the gradient of

    .. math:: \sum_{p : prediction_p \ne target_p} \pm z_p - \|\delta\|_2^2,

    where only pixels that do not show the target yet are pushed, and steps grow with the IoU of
    prediction and target, after a first one of :math:`\tau_0`. An image is done when its Dice
    score with the target reaches ``tau``; the published attack runs all of its steps.

    The published steps multiply the gradient as it is, so that they depend on the size of images
    and on the scale of a model's logits: by default the gradient is divided by its L2 norm. The
    IoU is that of the foreground of each image by itself, as in the authors' code; a widespread
    later one averages over classes, and over all images at once. It is taken of the image as it
    is handed back, in [0, 1], where the authors take it before they clip.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, prompts bound.
        images: Clean images in [0, 1], float32 or float64.
        masks: With ``targeted``, the masks the attacker wants to see, as published; without, the
            ground truth, and the target is all that it is not.
        tau: Dice score with ``masks`` that counts as success: with ``targeted`` at or above, for
            the look of the paper's figures 0.95; without, at or below.
        max_epsilon: Longest perturbation that is accepted, in L2; None for any.
        steps: Most updates.
        step_size: What the IoU is multiplied by; :math:`\beta`, published 1e-6.
        least_step: What a step has at IoU 0; :math:`\tau_0`, published 1e-7.
        normalise: False multiplies the gradient as it is, as published.
        norm: ``"l2"``, the only one there is.
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
    if norm != "l2":
        raise ValueError(f"Expected norm 'l2', the only one of ASMA, got {norm!r}; try pdpgd.")
    if not (0 <= step_size < math.inf and 0 < least_step < math.inf):
        raise ValueError(
            f"Expected step_size >= 0 and least_step > 0, got {step_size} and {least_step}."
        )
    bound = largest_radius(norm, max_epsilon)
    goal = Goal(tau, targeted, threshold)
    rule = _Paint(goal, step_size, least_step, normalise, bound)
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


class _Paint:
    stops = True
    stride: PerImage

    def __init__(
        self, goal: Goal, step_size: float, least_step: float, normalise: bool, max_epsilon: float
    ) -> None:
        self.goal, self.normalise, self.max_epsilon = goal, normalise, max_epsilon
        self.step_size, self.least_step, self.is_first = step_size, least_step, True

    def loss(self, logits: Logits, masks: Masks) -> PerImage:
        target = masks if self.goal.targeted else ~masks
        shown = logits > self.goal.threshold
        growth = iou(count(shown, target)).to(logits) * (not self.is_first)
        self.stride, self.is_first = self.step_size * growth + self.least_step, False
        sign = torch.where(target, 1.0, -1.0).to(logits)
        return (logits * sign * (shown != target)).flatten(1).sum(1)

    def move(
        self,
        images: Images,
        adversarial: Images,
        gradient: Images,
        reached: Bool[Tensor, " b"],  # noqa: ARG002 - all rules are called alike
    ) -> Images:
        delta = adversarial - images
        ascent = gradient - 2 * delta
        ascent = steepest(ascent, "l2") if self.normalise else ascent
        return valid(images, delta + per_image(self.stride) * ascent, self.max_epsilon, "l2")
