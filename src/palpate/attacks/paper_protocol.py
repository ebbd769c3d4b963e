"""FGSM and PGD as the published study of CLIPSeg with adapters runs them, each choice a switch.

The study's code attacks the image after normalisation and never returns to valid pixels. With
every switch thrown the same function is :func:`palpate.attacks.pgd`.
"""

from collections.abc import Sequence
from math import inf
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.attacks.core.best import Best, rank
from palpate.attacks.core.checks import check_ball, check_images, check_keep, check_schedule
from palpate.attacks.core.gradient_step import is_stuck, look, slope, warn_if_flat
from palpate.attacks.core.problem import Problem
from palpate.attacks.gradient.pgd import default_step_size
from palpate.attacks.losses.probability import probability_loss
from palpate.geometry import random_direction, random_in_ball
from palpate.overlap import count, dice
from palpate.types import Images, LogitsFn, Loss, Masks, Randomness

IMAGENET_STD = (0.229, 0.224, 0.225)


@torch.no_grad()
def published_pgd(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    epsilon: float,
    steps: int = 40,
    step_size: float | None = 2 / 255,
    norm: Literal["normalised", "linf"] = "normalised",
    std: Sequence[float] = IMAGENET_STD,
    equal_channels: bool = False,
    clamp: bool = False,
    random_start: bool = False,
    keep: Literal["last", "dice"] = "last",
    loss: Loss | None = None,
    truth: Float[Tensor, "b 1 h w"] | None = None,
    generator: Randomness = None,
    threshold: float = 0.0,
) -> Images:
    """Projected gradient descent with the choices of the study.

    One step of it is its FGSM where that step is as long as the radius: ``steps=1,
    step_size=None``.

    Args:
        model: Maps images to logits ``(b, 1, h, w)``; it normalises by ``std`` itself.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth.
        epsilon: Radius, in units of the normalised image, whose values span more than 4; of pixel
            value with ``norm="linf"``.
        steps: Updates.
        step_size: In the units of ``epsilon``; the study's 2/255 at every radius, or None for one
            that suits the radius, see :func:`palpate.attacks.default_step_size` (all of it, with
            one step).
        norm: ``normalised``: the ball is a cube after division by ``std``, so that each channel
            has a radius of its own in pixels.
        std: Standard deviation of each channel that the model divides by.
        equal_channels: Every channel gets the mean of their radii.
        clamp: Return to [0, 1] after each step. Without, pixels may leave it.
        random_start: Start anywhere in the ball instead of at the clean image.
        keep: The last iterate, or the one of lowest Dice score.
        loss: Quantity to maximise; by default :func:`probability_loss` on ``truth``.
        truth: Masks with grey values, for that loss.
        generator: See :func:`palpate.attacks.pgd`.
        threshold: Logits above it are foreground when the Dice score is taken; a ``loss`` that is
            given takes it for 0.

    Returns:
        Attacked images, within ``epsilon``; within [0, 1] only with ``clamp``.

    Raises:
        ValueError, FloatingPointError, RuntimeError: As :func:`palpate.attacks.pgd`.

    Warns:
        ZeroGradientWarning: If the gradient of an image was zero everywhere at some step.
    """
    check_images(images, masks)
    _check_radius(epsilon, norm, images)
    check_schedule(steps, 1, step_size)
    check_keep(keep, ("last", "dice"), early_stop=False)
    scale = _scale(images, norm, std, equal_channels)
    step = (default_step_size(epsilon, steps, "linf") if step_size is None else step_size) * scale
    rows, counted = torch.arange(len(images)), 0.0 if loss is None else threshold
    problem = Problem(model, images, masks, loss or _soft(truth), False, rows, counted)
    start = random_in_ball(images, epsilon, "linf", generator) * scale if random_start else 0
    adversarial = _valid(images + start, clamp)
    best, flat = Best(images), torch.zeros(len(images), dtype=torch.bool)
    for done in range(steps + 1):
        after = f"after {done} of {steps} steps"
        view = look(
            problem, adversarial, differentiable=done < steps, after=after, progress=done / steps
        )
        if done == steps or (done > 0 and keep == "dice"):
            scores = dice(count(view.logits > threshold, masks)).to(images)
            best.consider(problem.rows, adversarial, rank(scores, keep, False), view.harm)
        if done < steps:
            gradient = slope(problem, view, after=after)
            flat |= is_stuck(problem, view, gradient).cpu()
            delta = adversarial + step * gradient.sign() - images
            adversarial = _valid(images + delta.clamp(-epsilon * scale, epsilon * scale), clamp)
    warn_if_flat(flat)
    return best.adversarial


def _soft(truth: Tensor | None) -> Loss:
    """The study's loss, on grey values where they are given."""
    return lambda logits, masks: probability_loss(logits, masks if truth is None else truth)


@torch.no_grad()
def published_noise(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    epsilon: float,
    norm: Literal["normalised", "linf"] = "normalised",
    std: Sequence[float] = IMAGENET_STD,
    equal_channels: bool = False,
    clamp: bool = False,
    generator: Randomness = None,
) -> Images:
    """Random signs of the size that :func:`published_pgd` may go: the control it lacks.

    Arguments, return value and errors are those of :func:`published_pgd`.
    """
    del model
    check_images(images, masks)
    _check_radius(epsilon, norm, images)
    scale = _scale(images, norm, std, equal_channels)
    return _valid(images + epsilon * scale * random_direction(images, "linf", generator), clamp)


def unchanged(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    epsilon: float = 0.0,
    norm: Literal["normalised", "linf"] = "linf",
) -> Images:
    """No attack: what is left is what storage and new prompts do, the other control it lacks."""
    del model, masks, epsilon, norm
    return images.clone()


def _check_radius(epsilon: float, norm: str, images: Images) -> None:
    if norm != "normalised":
        check_ball(epsilon, "linf", images)
    elif not 0 <= epsilon < inf:
        raise ValueError(f"Expected a finite epsilon >= 0, got {epsilon}.")


def _scale(
    images: Images, norm: str, std: Sequence[float], equal: bool
) -> Float[Tensor, "1 c 1 1"]:
    if norm not in ("normalised", "linf"):
        raise ValueError(f"Expected norm 'normalised' or 'linf', got {norm!r}.")
    channels = images.shape[1]
    if norm == "linf":
        return torch.ones(1, channels, 1, 1).to(images)
    if len(std) != channels or not all(value > 0 for value in std):
        raise ValueError(f"Expected {channels} positive standard deviations, got {tuple(std)}.")
    scale = torch.tensor(std).view(1, -1, 1, 1).to(images)
    return scale.mean().expand_as(scale) if equal else scale


def _valid(images: Images, clamp: bool) -> Images:
    return images.clamp(0.0, 1.0) if clamp else images
