"""SEA: the worst of four adaptive attacks, each with a loss made for segmentation."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.attacks.core.best import Best, rank
from palpate.attacks.core.checks import check_ball, check_images, check_schedule
from palpate.attacks.core.gradient_step import look, warn_if_flat
from palpate.attacks.core.problem import Problem
from palpate.attacks.gradient.apgd_step import ascend
from palpate.attacks.losses import MaskedBCE, MaskedMargin, SegPGD, jensen_shannon
from palpate.attacks.threats import ANYWHERE, Threat, Within, threat_model
from palpate.overlap import count, dice
from palpate.types import Images, LogitsFn, Loss, Masks, Norm, Randomness

Preset: TypeAlias = Literal["quick", "standard", "full"]

PRESETS: dict[Preset, int] = {"quick": 30, "standard": 100, "full": 300}
"""Steps per loss; the paper takes 300."""

SEA_LOSSES: tuple[Loss, ...] = (MaskedBCE(), SegPGD(), jensen_shannon, MaskedMargin())

_RADII = (2.0, 1.5, 1.0)  # of the three phases, in units of epsilon


@torch.no_grad()
def sea(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    epsilon: float,
    preset: Preset = "standard",
    steps: int | None = None,
    losses: Sequence[Loss] = SEA_LOSSES,
    norm: Norm = "linf",
    targeted: bool = False,
    within: Within = ANYWHERE,
    generator: Randomness = None,
    threshold: float = 0.0,
    early_stop: bool = True,
) -> Images:
    """Segmentation ensemble attack (Croce, Singh & Hein, 2024, https://arxiv.org/abs/2306.12941).

    One run of APGD for each loss, and each image keeps the worst that came of them. A run has
    three phases: 30 % of the steps in a ball of twice the radius, 30 % in one of 1.5 times, and
    the rest in the ball itself. The first starts from a random point of its ball, the others
    from the worst point of the phase before, brought into the new ball.

    It differs from the paper where one logit per pixel or a small lesion asks for it. The worst
    point is that of the lowest Dice score; equals within a run go by its loss, between runs by
    the number of wrong pixels. (The paper takes pixel accuracy, which a lesion of 1 % of the
    image hardly moves.) The masked margin stands in for the masked spherical loss, see
    :class:`~palpate.attacks.losses.MaskedMargin`. The authors' repository has since come to three
    losses, with a masked cross-entropy weighted by class in place of the balanced and the
    spherical one, and lets plain cross-entropy drive the schedule of all; here each weighted
    cross-entropy goes by the plain one, and the other losses by themselves.

    A run of N steps costs N + 4 forward and N backward passes (N + 2 and N where N is 3 or less,
    for then the first two phases have no step), and there are as many runs as losses.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, see :func:`palpate.attacks.pgd`.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        preset: ``"quick"``, ``"standard"`` or ``"full"``: 30, 100 or 300 steps per loss.
        steps: Steps per loss, instead of a preset; at least one.
        losses: One run each. With one loss only, this is that run alone.
        norm: Norm of the ball. Colour channels and pixels count as one vector per image.
        targeted: Descend towards ``masks`` instead of ascending away from them.
        within: Where and how the perturbation may differ from the image, see
            :func:`~palpate.attacks.threats.threat_model`.
        generator: On the CPU; one for the batch, or one per image. ``None`` uses torch's own.
        threshold: Logits above it are foreground when the Dice score is taken; the loss takes it
            for 0.
        early_stop: Leave images alone once their Dice score in the ball itself is 0 (targeted:
            1), also in the runs that follow. No score changes.

    Returns:
        Adversarial images in [0, 1], no further than ``epsilon`` from ``images``, detached.

    Raises:
        ValueError: If images, masks, budgets, losses or logits are not as described.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from a loss to the pixels.

    Warns:
        ZeroGradientWarning: If the gradient of an image was zero everywhere at some step.
    """
    check_images(images, masks)
    check_ball(epsilon, norm, images)
    if preset not in PRESETS:
        raise ValueError(f"Expected preset 'quick', 'standard' or 'full', got {preset!r}.")
    steps = PRESETS[preset] if steps is None else steps
    check_schedule(steps, 1, None)
    threat = threat_model(within)
    threat.check(images, epsilon, norm)
    if not losses:
        raise ValueError("Expected at least one loss, got none.")

    problem = Problem(
        model, images, masks, losses[0], targeted, torch.arange(len(images)), threshold
    )
    worst = Best(images)
    flat = torch.zeros(len(images), dtype=torch.bool)
    for loss in losses:
        # Drawn for the whole batch, so that finished images shift nobody's random numbers.
        start = threat.random_start(images, masks, _RADII[0] * epsilon, norm, generator)
        if len(problem.rows) == 0:
            continue
        problem = replace(problem, loss=loss)
        found, left, flat_now = _run(
            problem, images, masks, start, epsilon, steps, norm, threat, threshold, early_stop
        )
        _show(worst, problem, found[problem.rows], threshold)
        problem, flat = left, flat | flat_now
    warn_if_flat(flat)
    return worst.adversarial


def _run(
    problem: Problem,
    images: Images,
    masks: Masks,
    point: Images,
    epsilon: float,
    steps: int,
    norm: Norm,
    threat: Threat,
    threshold: float,
    early_stop: bool,
) -> tuple[Images, Problem, Bool[Tensor, " n"]]:
    """The worst points of one run, what is left to attack after it, and what had no gradient."""
    left, flat = problem, torch.zeros(len(images), dtype=torch.bool)
    for phase, (factor, length) in enumerate(zip(_RADII, _lengths(steps), strict=True)):
        if length == 0:
            continue
        radius = factor * epsilon
        point = threat.settle(images, point - images, masks, radius, norm)
        best = Best(images)
        left, flat_now = ascend(
            problem,
            point[problem.rows],
            best,
            epsilon=radius,
            steps=length,
            norm=norm,
            threat=threat,
            threshold=threshold,
            keep="dice",
            early_stop=early_stop and factor == 1,
            start_counts=phase > 0,
            during=f"phase {phase + 1} with {_name(problem.loss)}",
        )
        point, flat = best.adversarial, flat | flat_now
    return point, left, flat


def _lengths(steps: int) -> tuple[int, int, int]:
    first = 30 * steps // 100
    return first, first, steps - 2 * first


def _show(worst: Best, problem: Problem, found: Images, threshold: float) -> None:
    """Let the results of a run compete with those of the runs before, loss or no loss."""
    view = look(problem, found, differentiable=False, after="at the end of a run")
    predictions = view.logits > threshold
    scores = dice(count(predictions, problem.masks)).to(found)
    wrong = (predictions != problem.masks).flatten(1).to(found).mean(1)
    order = rank(scores, "dice", problem.targeted)
    worst.consider(problem.rows, found, order, -wrong if problem.targeted else wrong)


def _name(loss: Loss) -> str:
    return getattr(loss, "__name__", type(loss).__name__)
