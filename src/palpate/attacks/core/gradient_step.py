"""One look at the model and one step up the loss: what all gradient attacks are made of."""

import warnings
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
    """Some image gave no direction to move in, so an attack on it says little."""


class View(NamedTuple):
    """What the model makes of one point."""

    point: Images
    logits: Maps  # in the type of the images
    harm: PerImage  # what the attacker wants more of; to compare points by
    climbed: PerImage  # what its slope is taken of: the harm, but for a scheduled loss


def look(
    problem: Problem,
    adversarial: Images,
    *,
    differentiable: bool,
    after: str,
    progress: float = 0.0,
    maps: bool = False,
    first: bool | None = None,
) -> View:
    """Run the model once.

    Args:
        problem: What is attacked.
        adversarial: Where to look; one point for each image of ``problem``.
        differentiable: Whether :func:`slope` will be asked for; costs memory.
        after: Where the attack stands, for error messages: "after 3 steps".
        maps: Whether the model may return several maps of logits, of which the loss knows.
        progress: The same as a share of all steps, for losses that depend on it.
        first: Whether to make sure that no image's loss depends on another's; by default at the
            beginning of an attack by gradients, where ``progress`` is 0.

    Raises:
        ValueError: If logits or losses have the wrong shape, or the loss of an image depends on
            others.
        FloatingPointError: If a loss is not finite.
    """
    # The caller may be inside no_grad or inference_mode; a gradient attack cannot be.
    with torch.inference_mode(False), torch.set_grad_enabled(differentiable):
        point = adversarial.detach().clone().requires_grad_(differentiable)
        # Under a name of its own, so that a gradient can end at the logits instead of going on.
        answer = _as_logits(problem.model(point), point, maps)
        logits = answer.view_as(answer)
        now = problem.loss
        if differentiable and isinstance(now, ScheduledLoss):
            now = now.at(progress, targeted=problem.targeted)
        climbed = harm = _harm(problem, now, logits)
        if now is not problem.loss:
            harm = _harm(problem, problem.loss, logits.detach())
    for values in (climbed, harm):
        _refuse_broken("loss", values.isfinite(), values, problem, after)
    if (differentiable and progress == 0) if first is None else first:
        _refuse_coupled(problem, climbed, harm, logits)
    return View(point, logits.detach(), harm, climbed)


def slope(problem: Problem, view: View, *, after: str) -> Images:
    """Gradient of what each image climbs with respect to its own pixels, and to nothing else.

    Raises:
        RuntimeError: If no path leads from the loss back to the pixels.
        FloatingPointError: If a gradient is not finite.
    """
    gradient: Tensor | None = None
    if view.climbed.requires_grad:
        with torch.inference_mode(False), torch.enable_grad():
            # Summing keeps the images independent: each gradient sees its own loss only.
            (gradient,) = torch.autograd.grad(view.climbed.sum(), view.point, allow_unused=True)
    if gradient is None:
        raise RuntimeError(
            "Expected logits that depend on the images, got logits that autograd cannot trace "
            "back to the pixels. Part of the model runs under no_grad, inference_mode, detach or "
            "numpy (Hugging Face's CLIPSegForImageSegmentation does: load it with "
            "palpate.load_model); run that part with gradients, or attack without them."
        )
    finite = gradient.flatten(1).isfinite().all(1)
    _refuse_broken("gradient", finite, view.climbed, problem, after)
    return gradient


def climb(
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
    """Step along the steepest direction, then back into the ball and the pixel range."""
    delta = adversarial - images + threat.step(gradient, masks, step_size, norm)
    return threat.settle(images, delta, masks, epsilon, norm)


def is_stuck(problem: Problem, view: View, gradient: Images) -> Bool[Tensor, " b"]:
    """Which images have a gradient of exactly zero everywhere, though something is left to do.

    Where every pixel is as the attacker wants it, losses that leave such pixels alone are flat.
    """
    wanted = problem.masks if problem.targeted else ~problem.masks
    return is_flat(gradient) & ((view.logits > problem.threshold) != wanted).flatten(1).any(1)


def is_flat(gradient: Images) -> Bool[Tensor, " b"]:
    """Which images have a gradient of exactly zero everywhere."""
    return (gradient == 0).flatten(1).all(1)


def warn_if_flat(flat: Bool[Tensor, " b"]) -> None:
    """One :class:`ZeroGradientWarning` for all images that were flat at some step."""
    if flat.any():
        warnings.warn(
            f"The gradient was zero at every pixel for {int(flat.sum())} of {len(flat)} images at "
            "one step or more, and they did not move there. Low damage is then no sign of "
            "robustness: try loss=margin, or look for rounding and saturation in the model, and "
            "for images in which the threat model leaves no pixel free.",
            ZeroGradientWarning,
            stacklevel=4,  # this function, the attack, torch's no_grad: then the caller
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
    return logits.to(images.dtype)  # a loss summed in bfloat16 has two digits


def _harm(problem: Problem, loss: Loss, logits: Maps) -> PerImage:
    # Losses take 0 for the boundary; some weight a pixel by the side of it that it lies on.
    counted = logits - problem.threshold if problem.threshold else logits
    values = as_one_per_image(loss(counted, problem.masks), len(problem.images))
    values = values.to(problem.images.dtype)
    return -values if problem.targeted else values


def _refuse_coupled(problem: Problem, climbed: PerImage, harm: PerImage, logits: Maps) -> None:
    refuse_coupled(climbed, logits)
    if harm is climbed and climbed.requires_grad:
        return
    with torch.inference_mode(False):
        # A clone: what a caller made in inference mode cannot take part in a gradient.
        problem = replace(problem, masks=problem.masks.clone())
    refuse_coupled_loss(partial(_harm, problem, problem.loss), logits)


def _refuse_broken(
    what: str, fine: Bool[Tensor, " b"], harm: PerImage, problem: Problem, after: str
) -> None:
    if fine.all():
        return
    # Carrying on would hand back a clean image, which looks like robustness.
    names, values = problem.rows[~fine.cpu()].tolist(), harm.detach()[~fine].tolist()
    raise FloatingPointError(
        f"Expected a finite {what}, got loss {values} for images {names} of the batch {after}; "
        "look for overflow or division by zero in the model and the loss."
    )
