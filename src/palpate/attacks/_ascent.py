"""One look at the model and one step up the loss: what all gradient attacks are made of."""

import warnings
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.attacks._problem import Problem
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
) -> View:
    """Run the model once.

    Args:
        problem: What is attacked.
        adversarial: Where to look; one point for each image of ``problem``.
        differentiable: Whether :func:`slope` will be asked for; costs memory.
        after: Where the attack stands, for error messages: "after 3 steps".
        maps: Whether the model may return several maps of logits, of which the loss knows.
        progress: The same as a share of all steps, for losses that depend on it.

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
        if differentiable and isinstance(problem.loss, ScheduledLoss):
            now = problem.loss.at(progress, targeted=problem.targeted)
            climbed = _harm(problem, now, logits)
            harm = _harm(problem, problem.loss, logits.detach())
        else:
            climbed = harm = _harm(problem, problem.loss, logits)
    for values in (climbed, harm):
        _refuse_broken("loss", values.isfinite(), values, problem, after)
    if progress == 0:
        _refuse_coupled(climbed, logits)
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
    values = _as_one_per_image(loss(counted, problem.masks), problem.images)
    return -values if problem.targeted else values


def _as_one_per_image(values: object, images: Images) -> PerImage:
    count = len(images)
    shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
    if not isinstance(values, Tensor) or shape != (count,):
        raise ValueError(
            f"Expected a loss of shape ({count},), one value per image, got {shape}; a mean over "
            "the batch would couple its images, so reduce over pixels only."
        )
    return values.to(images.dtype)


def _refuse_coupled(values: PerImage, logits: Maps) -> None:
    """One value per image may still be one mean over the batch, several times."""
    if len(values) == 1 or not (values.requires_grad and logits.requires_grad):
        return
    with torch.inference_mode(False), torch.enable_grad():
        (found,) = torch.autograd.grad(values[0], logits, retain_graph=True, allow_unused=True)
    # Where a slope is infinite, no share of it is NaN; that is found out elsewhere.
    if found is not None and bool((found[1:].nan_to_num() != 0).any()):
        raise ValueError(
            "Expected a loss of each image by itself, got one that depends on the other images of "
            "the batch, as a mean over all of them does; reduce over pixels only."
        )


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
