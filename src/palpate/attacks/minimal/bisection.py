"""Bisection over epsilon: the smallest radius at which a given attack succeeds."""

import math
from dataclasses import replace
from functools import partial
from inspect import Parameter, signature
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from palpate.attacks.core.checks import check_images
from palpate.attacks.core.gradient_step import EvaluatedPoint, evaluate_point
from palpate.attacks.core.problem import Problem
from palpate.attacks.gradient.pgd import pgd
from palpate.attacks.losses import margin
from palpate.attacks.minimal.dice_goal import Goal
from palpate.attacks.minimal.shortest import Shortest, largest_radius, warn_if_unbroken
from palpate.attacks.threats import Threat, threat_model
from palpate.types import (
    Attack,
    Images,
    Logits,
    LogitsFn,
    Loss,
    Masks,
    Norm,
    PerImage,
    Randomness,
)

_STRIDE = 4.0  # factor between two radii while no failure is known
_LEAST = 2.0**-24  # smallest radius: single precision cannot add less to a pixel value
_ROUNDING = 1e-6  # relative tolerance of a length
_STORED = 2e-5  # additional relative tolerance for images on the 8-bit lattice
_TRICKLE = 1e-6  # weight of the mean shortfall, so that PGD has a gradient beyond the goal
_STOPPING_PGD = partial(pgd, random_start=False, early_stop=True)


@torch.no_grad()
def bisection(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    tau: float = 0.5,
    max_epsilon: float | None = None,
    precision: float = 0.05,
    inner: Attack = _STOPPING_PGD,
    loss: Loss | None = None,
    norm: Norm = "linf",
    targeted: bool = False,
    generator: Randomness = None,
    threshold: float = 0.0,
) -> Images:
    """Find the smallest radius at which an attack succeeds, for each image, by bisection.

    Each image has an interval of radii. If ``inner`` succeeds at a radius, the length of its
    perturbation becomes the upper end; if it fails, the radius becomes the lower end. The first
    radius is a quarter of the largest one and is divided by four until ``inner`` fails; from then
    on, the geometric mean of both ends is tried. An image is finished when the upper end is at most
    ``1 + precision`` times the lower end, so the result is at most that much longer than a radius
    at which ``inner`` failed. If nothing succeeded, the largest radius is tried last. From 1 to a
    radius near 1/255 this takes about ten runs of ``inner``, each with one additional forward pass
    that scores the result.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``. If it holds data per image, it must
            be a ``partial`` with ``prompts`` or :class:`~palpate.attacks.Selectable`, because
            images are attacked at different radii.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        tau: An attack succeeds if the Dice score with ``masks`` is at most this (targeted: at
            least this), in [0, 1].
        max_epsilon: Largest radius, in units of pixel value; None for the largest that pixels in
            [0, 1] allow.
        precision: Width of the final interval, as a fraction of its lower end.
        inner: Any attack with an argument ``epsilon``. ``norm``, ``targeted``, ``generator`` and
            ``threshold`` are passed to it if it has such arguments. With
            ``partial(pgd, within="lattice")``, no radius below one grey level is tried. By default
            PGD with 40 steps from the clean image and early stopping.
        loss: Loss that ``inner`` maximises, if it has an argument ``loss``. In L-infinity the
            default is the attack's own loss, because changing all pixels costs no more than
            changing some. In L2 it is minus the sum of the squared shortfalls of the cheapest
            pixels that suffice, see :mod:`palpate.attacks.minimal.dice_goal`.
        norm: Norm of the radius.
        targeted: Approach ``masks`` instead of leaving them.
        generator: On the CPU, for ``inner``; one for the batch or one per image.
        threshold: Logits above it are foreground.

    Returns:
        For each image the shortest success, detached; the clean image if it is a success already,
        or if none was found.

    Raises:
        ValueError: If images, masks, budgets or logits are not as described, or ``inner`` takes
            no ``epsilon`` or not this norm.

    Warns:
        UnbrokenWarning: If no success was found for some image.
    """
    check_images(images, masks)
    bound, threat = largest_radius(norm, max_epsilon), _threat_of(inner)
    # A stored value is the float nearest to k / 255, so lengths have a rounding error too.
    slack = _STORED if threat.lattice else 0.0
    if not precision > 0:
        raise ValueError(f"Expected precision > 0, a share of the radius, got {precision}.")
    goal = Goal(tau, targeted, threshold)
    if loss is None and norm == "l2":
        # An attack with a threshold subtracts it before it computes the loss.
        counts = "threshold" in signature(inner).parameters
        loss = _aimed_at(replace(goal, threshold=0.0) if counts else goal)
    run = _Inner(inner, norm, targeted, threshold, generator, len(images), loss)
    problem = Problem.of_batch(model, images, masks, margin)
    shortest = Shortest(images, norm, bound * (1 + slack))
    point = _score(problem, images, goal, shortest)
    problem = problem.select(~goal.is_reached(point.logits, problem.masks))
    largest, least = min(bound, math.sqrt(images[0].numel())), threat.least(images, norm)
    ends = _Ends(len(images), largest, max(least, _LEAST), precision, _ROUNDING + slack)
    while len(problem.rows):
        radii = ends.next()[problem.rows]
        # An attack takes one epsilon per call, so images are grouped by radius.
        for radius in sorted(set(radii.tolist())):
            some = problem.select(radii == radius)
            adversarial = run(some, radius)
            _score(some, adversarial, goal, shortest)
            ends.narrow(some.rows, radius, shortest.length[some.rows])
        problem = problem.select(~ends.finished[problem.rows])
    warn_if_unbroken(shortest, bound, norm, str(goal))
    return shortest.adversarial


class _Ends:
    """The interval of each image: the attack failed at ``low`` and succeeded at ``high``.

    Until an image ``broke``, ``high`` is the largest radius, which has not been tried.
    """

    def __init__(
        self, count: int, largest: float, least: float, precision: float, rounding: float
    ) -> None:
        self.low = torch.zeros(count, dtype=torch.float64)
        self.high = torch.full_like(self.low, largest)
        self.broke = torch.zeros(count, dtype=torch.bool)
        self.largest, self.least = largest, least
        self.precision, self.rounding = precision, rounding

    def next(self) -> Tensor:
        """The radius to try next, for each image."""
        inside = torch.where(self.low > 0, (self.low * self.high).sqrt(), self.high / _STRIDE)
        inside = inside.clamp_min(self.least).minimum(self.high)
        return torch.where(self._narrow & ~self.broke, self.high, inside)

    def narrow(self, rows: Int[Tensor, " k"], radius: float, length: PerImage) -> None:
        """Narrow the intervals after a run; ``length`` is that of the shortest success so far."""
        length = length.double().cpu()
        broke = length <= radius * (1 + self.rounding)
        self.broke[rows] |= length.isfinite()
        self.high[rows] = torch.minimum(self.high[rows], length)
        self.low[rows] = torch.where(broke, self.low[rows], radius)

    @property
    def finished(self) -> Tensor:
        """Which images need no further radius."""
        return self._narrow & (self.broke | (self.low >= self.largest))

    @property
    def _narrow(self) -> Tensor:
        least = self.least * (1 + self.rounding)
        return (self.high <= (1 + self.precision) * self.low) | (self.high <= least)


class _Inner:
    """The inner attack, called at one radius with the arguments that it accepts."""

    def __init__(
        self,
        attack: Attack,
        norm: Norm,
        targeted: bool,
        threshold: float,
        generator: Randomness,
        count: int,
        loss: Loss | None,
    ) -> None:
        named = signature(attack).parameters
        if "epsilon" not in named:
            raise ValueError("Expected an inner attack with an argument epsilon, got one without.")
        if norm != "linf" and "norm" not in named:
            raise ValueError(f"Expected an inner attack that takes norm {norm!r}, got one without.")
        if targeted and "targeted" not in named:
            raise ValueError("Expected an inner attack that can be targeted, got one that cannot.")
        if not isinstance(generator, torch.Generator | None) and len(generator) != count:
            raise ValueError(f"Expected one generator per image ({count}), got {len(generator)}.")
        offered = {"norm": norm, "targeted": targeted, "threshold": threshold}
        self.attack, self.generator = attack, generator
        self.options: dict[str, Any] = {k: v for k, v in offered.items() if k in named}
        if loss is not None and "loss" in named and "loss" not in getattr(attack, "keywords", {}):
            self.options["loss"] = loss
        self.is_random = "generator" in named

    def __call__(self, problem: Problem, epsilon: float) -> Images:
        options = self.options | {"epsilon": epsilon}
        if self.is_random:
            one_each = not isinstance(self.generator, torch.Generator | None)
            options["generator"] = (
                [self.generator[row] for row in problem.rows.tolist()]  # type: ignore[index]
                if one_each
                else self.generator
            )
        return self.attack(problem.model, problem.images, problem.masks, **options)


def _threat_of(inner: Attack) -> Threat:
    """The threat model of an attack: the one bound by ``partial``, or its default."""
    within = signature(inner).parameters.get("within")
    if within is None or within.default is Parameter.empty:
        return Threat()
    return threat_model(within.default)


def _aimed_at(goal: Goal) -> Loss:
    """The default L2 loss: minus the squared shortfalls of the cheapest pixels."""

    def loss(logits: Logits, masks: Masks) -> PerImage:
        rest = goal.shortfall(logits, masks).flatten(1).mean(1)
        harm = goal.negative_shortfall(logits, masks, "l2") - _TRICKLE * rest
        return -harm if goal.targeted else harm

    return loss


def _score(problem: Problem, adversarial: Images, goal: Goal, shortest: Shortest) -> EvaluatedPoint:
    point = evaluate_point(problem, adversarial, differentiable=False, after="in a bisection")
    shortest.update(problem.rows, point.images, goal.is_reached(point.logits, problem.masks))
    return point
