"""Adaptive segmentation mask attack (ASMA): makes the model predict a given target mask."""

import math
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.attacks.minimal.dice_goal import Goal
from palpate.attacks.minimal.search_loop import per_image, project_to_valid, search
from palpate.attacks.minimal.shortest import largest_radius
from palpate.geometry import steepest
from palpate.overlap import count, iou
from palpate.types import Images, Logits, LogitsFn, Masks, Norm, PerImage, Randomness


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
    generator: Randomness = None,  # noqa: ARG001 - every attack accepts a generator
    threshold: float = 0.0,
) -> Images:
    r"""Adaptive segmentation mask attack (Ozbulak et al., 2019, https://arxiv.org/abs/1907.13124).

    Each step adds :math:`(\beta \, IoU + \tau_0)` times the gradient of

    .. math:: \sum_{p : prediction_p \ne target_p} \pm z_p - \|\delta\|_2^2

    to the perturbation. Only pixels whose prediction differs from the target contribute. The step
    size grows with the IoU of prediction and target; that of the first step is :math:`\tau_0`. An
    image is finished when its Dice score with the target reaches ``tau``; the published attack
    always runs all of its steps.

    The published step uses the gradient without normalisation, so it depends on the image size and
    on the scale of the logits. Here the gradient is divided by its L2 norm by default. The IoU is
    that of the foreground of each image, as in the authors' code; a common later implementation
    averages over classes and over all images. It is computed on the image clipped to [0, 1], which
    is returned; the authors compute it before clipping.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, prompts bound.
        images: Clean images in [0, 1], float32 or float64.
        masks: With ``targeted``, the target masks, as published. Otherwise the ground truth, and
            the target is its complement.
        tau: An attack succeeds if the Dice score with ``masks`` is at most this; with
            ``targeted``, at least this. The figures of the paper correspond to about 0.95.
        max_epsilon: Largest perturbation that is accepted, in L2 and in units of pixel value; None
            for any.
        steps: Maximum number of updates.
        step_size: Factor of the IoU in the step size, :math:`\beta`; 1e-6 in the paper.
        least_step: Step size at an IoU of 0, :math:`\tau_0`; 1e-7 in the paper.
        normalise: Divide the gradient by its L2 norm; False as published.
        norm: ``"l2"``, the only norm supported.
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
    if norm != "l2":
        raise ValueError(f"Expected norm 'l2', the only one of asma, got {norm!r}; try pdpgd.")
    if not (0 <= step_size < math.inf and 0 < least_step < math.inf):
        raise ValueError(
            f"Expected step_size >= 0 and least_step > 0, got {step_size} and {least_step}."
        )
    bound = largest_radius(norm, max_epsilon)
    goal = Goal(tau, targeted, threshold)
    rule = _AsmaRule(goal, step_size, least_step, normalise, bound)
    return search(model, images, masks, rule, steps=steps, levels=levels)


class _AsmaRule:
    """The loss and update of ASMA."""

    stops = True
    norm: Norm = "l2"
    stride: PerImage

    def __init__(
        self, goal: Goal, step_size: float, least_step: float, normalise: bool, max_epsilon: float
    ) -> None:
        self.goal, self.normalise, self.max_epsilon = goal, normalise, max_epsilon
        self.step_size, self.least_step, self.is_first = step_size, least_step, True

    def loss(self, logits: Logits, masks: Masks) -> PerImage:
        target = masks if self.goal.targeted else ~masks
        shown = logits > self.goal.threshold
        # The first step has the size least_step, whatever the IoU.
        growth = iou(count(shown, target)).to(logits) * (not self.is_first)
        self.stride, self.is_first = self.step_size * growth + self.least_step, False
        sign = torch.where(target, 1.0, -1.0).to(logits)
        return (logits * sign * (shown != target)).flatten(1).sum(1)

    def move(
        self,
        images: Images,
        adversarial: Images,
        gradient: Images,
        reached: Bool[Tensor, " b"],  # noqa: ARG002 - part of the protocol of update rules
    ) -> Images:
        delta = adversarial - images
        ascent = gradient - 2 * delta  # the second term is the gradient of the squared norm
        ascent = steepest(ascent, "l2") if self.normalise else ascent
        return project_to_valid(
            images, delta + per_image(self.stride) * ascent, self.max_epsilon, "l2"
        )
