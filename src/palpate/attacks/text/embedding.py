"""PGD on the condition of the decoder, whether or not any text has this condition."""

import math
import warnings
from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.attacks.core.gradient_step import ZeroGradientWarning
from palpate.attacks.text.source import PromptSource
from palpate.attacks.text.view import Conditions, Harm, View
from palpate.geometry import project, random_in_ball, steepest

Condition: TypeAlias = Float[Tensor, "1 d"]
Region: TypeAlias = Callable[[Conditions], Conditions]  # projection on the allowed region


def embedding_pgd(
    view: View,
    source: PromptSource,
    *,
    radius: float | None = None,
    cosine: float | None = None,
    steps: int = 20,
    step_size: float | None = None,
    restarts: int = 1,
    generator: torch.Generator,
) -> Condition:
    r"""PGD (Madry et al., 2018, https://arxiv.org/abs/1706.06083) on the condition of the decoder.

    Ascends the loss from the condition :math:`c` of the prompt. The image is encoded once, so a
    step costs a forward and a backward pass of the decoder. The condition is bounded by the ball
    :math:`\|c' - c\| \le \rho \|c\|`, or, with ``cosine``, by :math:`\cos(c', c) \ge \kappa` at the
    length of :math:`c`. The result need not be the condition of any text.

    Args:
        view: Image, mask, model and loss.
        source: Its prompt gives the first condition.
        radius: :math:`\rho`, as a fraction of the norm of the condition, at least 0.
        cosine: :math:`\kappa`, instead of a radius; above -1 and at most 1.
        steps: Updates per restart.
        step_size: Length of a step as a fraction of the norm of the condition; by default 2.5
            radii divided by the number of steps.
        restarts: Independent runs. The first starts at the condition of the prompt, the others at
            random points of the region.
        generator: Draws the random starts.

    Returns:
        The condition ``(1, d)`` with the lowest DSC; of equal ones, that with the highest loss.
        The starting points are never returned.

    Raises:
        ValueError: If not exactly one of radius and cosine is given, or a value is out of range.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If the logits do not depend on the condition.

    Warns:
        ZeroGradientWarning: If a gradient was zero at some step.
    """
    _check(radius, cosine, steps, restarts, step_size)
    with torch.inference_mode(False), torch.no_grad():
        origin = view.model.read([source.prompt]).clone()
    length = float(origin.double().norm())
    region = _ball(origin, (radius or 0.0) * length)
    reach = (radius or 0.0) * length
    if cosine is not None:
        # The chord from the centre of the cap to its rim, by the law of cosines.
        region, reach = _cap(origin, cosine), math.sqrt(2 - 2 * cosine) * length
    stride = 2.5 * reach / steps if step_size is None else step_size * length
    points = region(_starts(origin, reach, restarts, generator))
    return _ascend(view, points, region, steps, stride)


def _ascend(view: View, points: Conditions, region: Region, steps: int, stride: float) -> Condition:
    best: tuple[Condition, Harm] | None = None
    flat = False
    for _ in range(steps):
        gradient = _gradient(view, points)
        flat |= bool((gradient == 0).all(1).any())
        points = region(points + stride * _flattened(steepest(_as_images(gradient), "l2")))
        harm = view.harm(points)
        now = harm.worst()
        found = points[now : now + 1], Harm(harm.dsc[now : now + 1], harm.loss[now : now + 1])
        if best is None or _beats(found[1], best[1]):
            best = found
    if flat:
        warnings.warn(
            "The gradient of the condition was zero at one step or more. Low damage is then no "
            "evidence of robustness: try loss=margin.",
            ZeroGradientWarning,
            stacklevel=3,
        )
    assert best is not None
    return best[0]


def _gradient(view: View, points: Conditions) -> Conditions:
    with torch.inference_mode(False), torch.enable_grad():
        at = points.detach().clone().requires_grad_()
        gradient, _ = view.slopes(at, at)
    return gradient


def _beats(new: Harm, old: Harm) -> bool:
    ours, theirs = ((float(-h.dsc), float(h.loss)) for h in (new, old))
    return ours > theirs


def _starts(
    origin: Condition, reach: float, restarts: int, generator: torch.Generator
) -> Conditions:
    """The condition of the prompt, followed by random points around it."""
    around = origin.expand(restarts - 1, -1)
    if restarts == 1:
        return origin.clone()
    drawn = _flattened(random_in_ball(_as_images(around), reach, "l2", generator))
    return torch.cat([origin, around + drawn])


def _ball(origin: Condition, radius: float) -> Region:
    def nearest(points: Conditions) -> Conditions:
        return origin + _flattened(project(_as_images(points - origin), radius, "l2"))

    return nearest


def _cap(origin: Condition, cosine: float) -> Region:
    """Projection on the spherical cap around ``origin``, on the sphere that it lies on."""
    length: Tensor = origin.norm()
    axis, sine = origin / length, math.sqrt(1 - cosine * cosine)

    def nearest(points: Conditions) -> Conditions:
        # Inside the cone of the cap, the nearest point is the rescaled point itself; outside the
        # cone it lies on the rim of the cap.
        along = (points * axis).sum(1, keepdim=True)
        across = points - along * axis
        aside = across / across.norm(dim=1, keepdim=True).clamp_min(1e-12)
        inside = along >= cosine * points.norm(dim=1, keepdim=True)
        on_sphere = points / points.norm(dim=1, keepdim=True).clamp_min(1e-12)
        direction: Tensor = torch.where(inside, on_sphere, cosine * axis + sine * aside)
        return length * direction

    return nearest


def _as_images(conditions: Conditions) -> Tensor:
    return conditions[:, :, None, None]  # palpate.geometry expects the shape of images


def _flattened(images: Tensor) -> Conditions:
    return images[:, :, 0, 0]


def _check(
    radius: float | None, cosine: float | None, steps: int, restarts: int, step_size: float | None
) -> None:
    if (radius is None) == (cosine is None):
        raise ValueError(f"Expected radius or cosine, got radius={radius} and cosine={cosine}.")
    if radius is not None and not 0 <= radius < math.inf:
        raise ValueError(f"Expected radius >= 0, a part of the length, got {radius}.")
    if cosine is not None and not -1 < cosine <= 1:
        raise ValueError(f"Expected cosine above -1 and at most 1, got {cosine}.")
    if steps < 1 or restarts < 1:
        raise ValueError(f"Expected steps >= 1 and restarts >= 1, got {steps} and {restarts}.")
    if step_size is not None and not 0 < step_size < math.inf:
        raise ValueError(f"Expected a finite step_size > 0, got {step_size}.")
