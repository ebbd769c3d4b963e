"""Bisection over epsilon: the smallest radius at which any attack still succeeds."""

import math
from dataclasses import replace
from functools import partial
from inspect import Parameter, signature
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from palpate.attacks.core.checks import check_images
from palpate.attacks.core.gradient_step import View, look
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

_STRIDE = 4.0  # factor between two radii while only successes are known
_LEAST = 2.0**-24  # a radius that single precision no longer adds to a pixel
_ROUNDING = 1e-6  # of a length
_STORED = 2e-5  # the same on the 8-bit lattice
_TRICKLE = 1e-6  # of the mean margin, in the loss: where all is reached, PGD still has a direction
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
    """Halve, for each image by itself, the interval that its smallest radius lies in.

    A radius at which ``inner`` succeeds becomes the upper end, one at which it fails the lower
    end; a success that is shorter than its radius counts at its own length. The first radius is
    a quarter of the largest, then a quarter of that until one fails, then the geometric mean of
    both ends. An image is finished when the upper end is at most ``1 + precision`` times the
    lower one: what comes back is then at most that much longer than a radius at which ``inner``
    failed. Where nothing succeeded below it, the last radius is the largest itself. From 1 to a
    radius near 1/255 that takes about ten runs of ``inner``, and each run one forward pass more,
    which scores what it returned.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``. If it holds something per image,
            it must be a ``partial`` with ``prompts`` or :class:`~palpate.attacks.Selectable`:
            images go their own ways.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        tau: Dice score with ``masks`` that counts as success, at or below; with ``targeted`` at
            or above.
        max_epsilon: Largest radius; None for any that pixels allow.
        precision: Finished width of an interval, as a share of its lower end.
        inner: Any attack with an ``epsilon``, e.g. ``partial(pgd, within="lattice")``, with which
            no radius is less than a grey level; ``norm``, ``targeted``, ``generator`` and
            ``threshold`` are passed on to one that names them. By default PGD of 40 steps from
            the clean image that leaves images alone whose Dice score is 0.
        loss: What ``inner`` maximises, if it names a ``loss``; None leaves it its own in
            L-infinity, where pushing all pixels costs no more than pushing some, and in L2
            takes the sum of squares by which the cheapest pixels that suffice fall short.
        norm: Norm of the radius.
        targeted: Approach ``masks`` instead of leaving them.
        generator: On the CPU, for ``inner``; one for the batch or one per image.
        threshold: Logits above it are foreground.

    Returns:
        For each image the shortest success, detached; the clean image where that is one already,
        or where there was none.

    Raises:
        ValueError: If images, masks, budgets or logits are not as described, or ``inner`` takes
            no ``epsilon`` or not this norm.

    Warns:
        UnbrokenWarning: If some image was not broken.
    """
    check_images(images, masks)
    bound, threat = largest_radius(norm, max_epsilon), _threat_of(inner)
    # A stored value is the float nearest to k / 255, and lengths are as inexact.
    slack = _STORED if threat.lattice else 0.0
    if not precision > 0:
        raise ValueError(f"Expected precision > 0, a share of the radius, got {precision}.")
    goal = Goal(tau, targeted, threshold)
    if loss is None and norm == "l2":
        # An attack that knows the threshold counts logits from it before the loss sees them.
        counts = "threshold" in signature(inner).parameters
        loss = _aimed_at(replace(goal, threshold=0.0) if counts else goal)
    run = _Inner(inner, norm, targeted, threshold, generator, len(images), loss)
    problem = Problem(model, images, masks, margin, False, torch.arange(len(images)))
    shortest = Shortest(images, norm, bound * (1 + slack))
    view = _score(problem, images, goal, shortest)
    problem = problem.select(~goal.is_reached(view.logits, problem.masks))
    largest, least = min(bound, math.sqrt(images[0].numel())), threat.least(images, norm)
    ends = _Ends(len(images), largest, max(least, _LEAST), precision, _ROUNDING + slack)
    while len(problem.rows):
        radii = ends.next()[problem.rows]
        for radius in sorted(set(radii.tolist())):
            some = problem.select(radii == radius)
            adversarial = run(some, radius)
            _score(some, adversarial, goal, shortest)
            ends.narrow(some.rows, radius, shortest.length[some.rows])
        problem = problem.select(~ends.finished[problem.rows])
    warn_if_unbroken(shortest, bound, norm, str(goal))
    return shortest.adversarial


class _Ends:
    """Where each image's radius lies: it failed at ``low`` and succeeded at ``high``.

    Before an image ``broke``, ``high`` is the bound, at which nobody has tried yet.
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
        inside = torch.where(self.low > 0, (self.low * self.high).sqrt(), self.high / _STRIDE)
        inside = inside.clamp_min(self.least).minimum(self.high)
        return torch.where(self._narrow & ~self.broke, self.high, inside)

    def narrow(self, rows: Int[Tensor, " k"], radius: float, length: PerImage) -> None:
        """``length`` of the shortest success so far; longer than ``radius``, this run failed."""
        length = length.double().cpu()
        broke = length <= radius * (1 + self.rounding)
        self.broke[rows] |= length.isfinite()
        self.high[rows] = torch.minimum(self.high[rows], length)
        self.low[rows] = torch.where(broke, self.low[rows], radius)

    @property
    def finished(self) -> Tensor:
        return self._narrow & (self.broke | (self.low >= self.largest))

    @property
    def _narrow(self) -> Tensor:
        least = self.least * (1 + self.rounding)
        return (self.high <= (1 + self.precision) * self.low) | (self.high <= least)


class _Inner:
    """The attack at one radius, given what it names."""

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
    """The threat model that an attack was given or has by itself."""
    within = signature(inner).parameters.get("within")
    if within is None or within.default is Parameter.empty:
        return Threat()
    return threat_model(within.default)


def _aimed_at(goal: Goal) -> Loss:
    def loss(logits: Logits, masks: Masks) -> PerImage:
        rest = goal.shortfall(logits, masks).flatten(1).mean(1)
        harm = goal.pull(logits, masks, "l2") - _TRICKLE * rest
        return -harm if goal.targeted else harm

    return loss


def _score(problem: Problem, adversarial: Images, goal: Goal, shortest: Shortest) -> View:
    view = look(problem, adversarial, differentiable=False, after="in a bisection")
    shortest.consider(problem.rows, view.point, goal.is_reached(view.logits, problem.masks))
    return view
