"""The parts of every gradient attack: evaluate a point, take its gradient, take a step."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.attacks.core.per_image import as_one_per_image, refuse_coupled, refuse_coupled_loss
from palpate.attacks.core.problem import Problem
from palpate.attacks.threats import Threat
from palpate.types import Images, Loss, Maps, Masks, Norm, PerImage, ScheduledLoss


class ZeroGradientWarning(RuntimeWarning):
    """The gradient of some image was zero everywhere, so an attack could not move it."""


class EvaluatedPoint(NamedTuple):
    """The images at one point of an attack, with the model's logits and the loss there.

    Attributes:
        images: The point; requires a gradient if it was evaluated with ``differentiable=True``.
        logits: Logits of the model, detached, in the type of the images.
        harm: The loss, negated for a targeted attack, so that higher is better for the attacker.
            Used to compare points.
        objective: The value whose gradient is taken. It equals ``harm``, except for a scheduled
            loss, which has separate values for the gradient and for comparing points.
    """

    images: Images
    logits: Maps
    harm: PerImage
    objective: PerImage


def evaluate_point(
    problem: Problem,
    adversarial: Images,
    *,
    differentiable: bool,
    after: str,
    progress: float = 0.0,
    maps: bool = False,
    first: bool | None = None,
) -> EvaluatedPoint:
    """Run the model and the loss once, on one point for each image.

    Args:
        problem: The images under attack.
        adversarial: The points, one for each image of ``problem``.
        differentiable: Whether :func:`pixel_gradient` will be called; keeps the graph in memory.
        after: Position in the attack, for error messages, such as "after 3 steps".
        maps: Whether the model may return several maps of logits, which the loss must then expect.
        progress: Fraction of the steps that are done, in [0, 1], for scheduled losses.
        first: Whether to check that no image's loss depends on another image. By default this is
            checked where a gradient attack begins, at ``progress`` 0.

    Raises:
        ValueError: If logits or losses have the wrong shape, or the loss of an image depends on
            other images.
        FloatingPointError: If a loss is not finite.
    """
    # The caller may be inside no_grad or inference_mode; a gradient attack cannot be.
    with torch.inference_mode(False), torch.set_grad_enabled(differentiable):
        point = adversarial.detach().clone().requires_grad_(differentiable)
        # A view makes the logits a node of their own, at which the check of the loss below can stop
        # the backward pass.
        output = _as_logits(problem.model(point), point, maps)
        logits = output.view_as(output)
        loss = problem.loss
        if differentiable and isinstance(loss, ScheduledLoss):
            loss = loss.at(progress, targeted=problem.targeted)
        objective = harm = _harm(problem, loss, logits)
        if loss is not problem.loss:
            harm = _harm(problem, problem.loss, logits.detach())
    for values in (objective, harm):
        _refuse_not_finite("loss", values.isfinite(), values, problem, after)
    if (differentiable and progress == 0) if first is None else first:
        _refuse_coupled(problem, objective, harm, logits)
    return EvaluatedPoint(point, logits.detach(), harm, objective)


def pixel_gradient(problem: Problem, point: EvaluatedPoint, *, after: str) -> Images:
    """Gradient of each image's objective with respect to its own pixels.

    Args:
        problem: The images under attack.
        point: From :func:`evaluate_point` with ``differentiable=True``.
        after: Position in the attack, for error messages.

    Raises:
        RuntimeError: If autograd finds no path from the loss back to the pixels.
        FloatingPointError: If a gradient is not finite.
    """
    gradient: Tensor | None = None
    if point.objective.requires_grad:
        with torch.inference_mode(False), torch.enable_grad():
            # A sum keeps the images independent: the gradient of each is that of its own loss.
            (gradient,) = torch.autograd.grad(
                point.objective.sum(), point.images, allow_unused=True
            )
    if gradient is None:
        raise RuntimeError(
            "Expected logits that depend on the images, got logits that autograd cannot trace "
            "back to the pixels. Part of the model runs under no_grad, inference_mode, detach or "
            "numpy (Hugging Face's CLIPSegForImageSegmentation does: load it with "
            "palpate.load_model); run that part with gradients, or use an attack that needs none."
        )
    finite = gradient.flatten(1).isfinite().all(1)
    _refuse_not_finite("gradient", finite, point.objective, problem, after)
    return gradient


def take_step(
    images: Images,
    adversarial: Images,
    gradient: Images,
    masks: Masks,
    *,
    step_size: float,
    epsilon: float,
    norm: Norm,
    threat: Threat,
) -> Images:
    """Step along the steepest direction, then project on the ball, [0, 1] and the threat model."""
    delta = adversarial - images + threat.step(gradient, masks, step_size, norm)
    return threat.settle(images, delta, masks, epsilon, norm)


def is_stuck(problem: Problem, point: EvaluatedPoint, gradient: Images) -> Bool[Tensor, " b"]:
    """Which images have a zero gradient although some pixel lacks the class the attacker wants.

    If all pixels have that class, a zero gradient is expected: many losses ignore such pixels.
    """
    wanted = problem.masks if problem.targeted else ~problem.masks
    unfinished = ((point.logits > problem.threshold) != wanted).flatten(1).any(1)
    return is_flat(gradient) & unfinished


def is_flat(gradient: Images) -> Bool[Tensor, " b"]:
    """Which images have a gradient of exactly zero at every pixel."""
    return (gradient == 0).flatten(1).all(1)


def warn_if_flat(flat: Bool[Tensor, " b"], *, losses: Sequence[str] = ()) -> None:
    """Give one :class:`ZeroGradientWarning` for all images whose gradient was zero at some step.

    Args:
        flat: Whether the gradient of an image was zero.
        losses: Names of the losses with such a gradient, for attacks with several losses.
    """
    if flat.any():
        of_losses = f" of {', '.join(losses)}" if losses else ""
        warnings.warn(
            f"The gradient{of_losses} was zero at every pixel for {int(flat.sum())} of "
            f"{len(flat)} images at one step or more, so they did not move in that step. Low "
            "damage is then no evidence of robustness: try loss=margin, check the model for "
            "rounding and saturation, and check for images in which the threat model leaves no "
            "pixel free.",
            ZeroGradientWarning,
            stacklevel=4,  # skips this function, the attack and torch's no_grad: the caller is left
        )


def _as_logits(logits: object, images: Tensor, maps: bool) -> Tensor:
    several = maps and isinstance(logits, Tensor) and logits.dim() == 4
    count = logits.shape[1] if several and isinstance(logits, Tensor) else 1
    expected = (len(images), count, *images.shape[2:])
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        got = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"Expected a model that returns float logits {expected}, got {got}.")
    if tuple(logits.shape) != expected:
        raise ValueError(
            f"Expected a model that returns logits of shape {expected}, one channel and the size "
            f"of its images, got {tuple(logits.shape)}; reshape and resize inside the model."
        )
    return logits.to(images.dtype)  # a sum over pixels in bfloat16 keeps only two digits


def _harm(problem: Problem, loss: Loss, logits: Maps) -> PerImage:
    # Losses assume that a logit of 0 is the decision boundary, so the threshold is moved there.
    shifted = logits - problem.threshold if problem.threshold else logits
    values = as_one_per_image(loss(shifted, problem.masks), len(problem.images))
    values = values.to(problem.images.dtype)
    return -values if problem.targeted else values


def _refuse_coupled(problem: Problem, objective: PerImage, harm: PerImage, logits: Maps) -> None:
    refuse_coupled(objective, logits)
    if harm is objective and objective.requires_grad:
        return
    # The value that points are compared by has no graph, so it is checked by itself.
    with torch.inference_mode(False):
        # A clone, because a tensor made in inference mode cannot take part in a gradient.
        problem = replace(problem, masks=problem.masks.clone())
    refuse_coupled_loss(partial(_harm, problem, problem.loss), logits)


def _refuse_not_finite(
    what: str, fine: Bool[Tensor, " b"], harm: PerImage, problem: Problem, after: str
) -> None:
    if fine.all():
        return
    # Continuing would return the clean image, which would look like robustness.
    names, values = problem.rows[~fine.cpu()].tolist(), harm.detach()[~fine].tolist()
    raise FloatingPointError(
        f"Expected a finite {what}, got loss {values} for images {names} of the batch {after}; "
        "look for overflow or division by zero in the model and the loss."
    )
