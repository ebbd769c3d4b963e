"""FGSM and PGD as in the published study of CLIPSeg with adapters, with an option per choice.

The study's code attacks the normalised image and never clips to valid pixel values. With all of
its choices reversed, the function is :func:`palpate.attacks.pgd`.
"""

from collections.abc import Sequence
from math import inf
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.attacks.core.best import Best, rank
from palpate.attacks.core.checks import check_ball, check_images, check_keep, check_schedule
from palpate.attacks.core.gradient_step import (
    evaluate_point,
    is_stuck,
    pixel_gradient,
    warn_if_flat,
)
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
    """Projected gradient descent with the choices of the published study.

    With ``steps=1, step_size=None`` it is the FGSM of the study: one step as long as the radius.

    Args:
        model: Maps images to logits ``(b, 1, h, w)``; it divides by ``std`` itself.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth.
        epsilon: Radius, in units of the normalised image, whose values span more than 4; with
            ``norm="linf"``, in units of pixel value.
        steps: Updates.
        step_size: Length of one step, in the units of ``epsilon``. The study uses 2/255 at every
            radius. None gives :func:`palpate.attacks.default_step_size`, which is the radius if
            there is one step.
        norm: ``normalised``: the ball is a cube in the normalised image, so that each channel has
            its own radius in pixel values.
        std: Standard deviation that the model divides each channel by.
        equal_channels: Use the mean of the channels' radii for every channel.
        clamp: Clip to [0, 1] after each step. Otherwise pixel values may leave that range.
        random_start: Start from a uniform random point of the ball instead of the clean image.
        keep: Return the last iterate, or the one of the lowest Dice score.
        loss: Quantity to maximise; by default :func:`probability_loss` on ``truth``.
        truth: Ground truth with grey values in [0, 1], for that loss.
        generator: See :func:`palpate.attacks.pgd`.
        threshold: Logits above it are foreground. It is subtracted from the logits before a given
            ``loss`` is computed, but not before the loss of the study.

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
    counted = 0.0 if loss is None else threshold
    problem = Problem.of_batch(model, images, masks, loss or _soft(truth), threshold=counted)
    start = random_in_ball(images, epsilon, "linf", generator) * scale if random_start else 0
    adversarial = _valid(images + start, clamp)
    best, flat = Best(images), torch.zeros(len(images), dtype=torch.bool)
    for done in range(steps + 1):
        after = f"after {done} of {steps} steps"
        point = evaluate_point(
            problem, adversarial, differentiable=done < steps, after=after, progress=done / steps
        )
        if done == steps or (done > 0 and keep == "dice"):
            scores = dice(count(point.logits > threshold, masks)).to(images)
            best.update(problem.rows, adversarial, rank(scores, keep, False), point.harm)
        if done < steps:
            gradient = pixel_gradient(problem, point, after=after)
            flat |= is_stuck(problem, point, gradient).cpu()
            delta = adversarial + step * gradient.sign() - images
            adversarial = _valid(images + delta.clamp(-epsilon * scale, epsilon * scale), clamp)
    warn_if_flat(flat)
    return best.adversarial


def _soft(truth: Tensor | None) -> Loss:
    """The loss of the study, with grey values as ground truth if they are given."""
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
    """Random signs with the radius of :func:`published_pgd`: a control that the study lacks.

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
    """Return the clean images. Control: storage and re-prompting only, which the study lacks."""
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
