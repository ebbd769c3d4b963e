"""Segmentation ensemble attack (SEA): the worst result of APGD with four losses."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.attacks.core.best import Best
from palpate.attacks.core.checks import check_inputs, check_schedule
from palpate.attacks.core.gradient_step import warn_if_flat
from palpate.attacks.core.problem import Problem
from palpate.attacks.gradient.across_losses import name_of, record_run
from palpate.attacks.gradient.apgd_step import ascend
from palpate.attacks.losses import MaskedBCE, MaskedMargin, SegPGD, jensen_shannon
from palpate.attacks.threats import ANYWHERE, Threat, Within
from palpate.types import Images, LogitsFn, Loss, Masks, Norm, Randomness

Preset: TypeAlias = Literal["quick", "standard", "full"]

PRESETS: dict[Preset, int] = {"quick": 30, "standard": 100, "full": 300}
"""Steps per loss by preset; the paper uses 300."""

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

    One run of APGD for each loss; each image gets the worst result of all runs. A run has three
    phases: 30 % of the steps in a ball of twice the radius, 30 % in one of 1.5 times the radius,
    and the rest in the ball itself. The first phase starts from a random point of its ball, the
    others from the worst point of the previous phase, projected on the new ball.

    This implementation differs from the paper where models with one logit per pixel or small
    lesions require it. The worst point is the one with the lowest Dice score; equal scores are
    compared by the loss within a run, and by the number of wrong pixels between runs. (The paper
    uses pixel accuracy, which hardly changes for a lesion of 1 % of the image.) The masked margin
    replaces the masked spherical loss, see :class:`~palpate.attacks.losses.MaskedMargin`. The
    authors' repository now has three losses, with a masked cross-entropy weighted by class in place
    of the balanced and the spherical one, and adapts the step size of all of them by the plain
    cross-entropy. Here the weighted cross-entropies use the plain one for this, and the other
    losses their own values.

    A run of N steps costs N + 4 forward and N backward passes (N + 2 and N if N is 3 or less,
    because the first two phases then have no step). There are as many runs as losses.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, see :func:`palpate.attacks.pgd`.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        preset: ``"quick"``, ``"standard"`` or ``"full"``: 30, 100 or 300 steps per loss.
        steps: Steps per loss, instead of a preset; at least one.
        losses: Losses to maximise, one run each.
        norm: Norm of the ball, over all channels and pixels of an image.
        targeted: Descend towards ``masks`` instead of ascending away from them.
        within: Threat model: which pixels the perturbation may change and how, see
            :func:`~palpate.attacks.threats.threat_model`.
        generator: On the CPU; one for the batch, or one per image. ``None`` uses torch's global
            generator.
        threshold: Logits above it are foreground. It is subtracted from the logits before the
            loss is computed.
        early_stop: Stop attacking an image once its Dice score in the ball itself is 0 (targeted:
            1), also in later runs. This changes no score.

    Returns:
        Adversarial images in [0, 1], no further than ``epsilon`` from ``images``, detached.

    Raises:
        ValueError: If images, masks, budgets, losses or logits are not as described.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from a loss to the pixels.

    Warns:
        ZeroGradientWarning: If the gradient of an image was zero everywhere at some step.
    """
    threat = check_inputs(images, masks, epsilon, norm, within)
    if preset not in PRESETS:
        raise ValueError(f"Expected preset 'quick', 'standard' or 'full', got {preset!r}.")
    steps = PRESETS[preset] if steps is None else steps
    check_schedule(steps, 1, None)
    if not losses:
        raise ValueError("Expected at least one loss, got none.")

    problem = Problem.of_batch(
        model, images, masks, losses[0], targeted=targeted, threshold=threshold
    )
    worst = Best(images)
    flat = torch.zeros(len(images), dtype=torch.bool)
    flat_losses: list[str] = []
    for loss in losses:
        # Drawn for the whole batch, so that finished images do not change the draws of others.
        start = threat.random_start(images, masks, _RADII[0] * epsilon, norm, generator)
        if len(problem.rows) == 0:
            continue
        problem = replace(problem, loss=loss)
        found, left, flat_now = _run(
            problem, images, masks, start, epsilon, steps, norm, threat, threshold, early_stop
        )
        record_run(worst, problem, found[problem.rows], threshold)
        problem, flat = left, flat | flat_now
        flat_losses += [name_of(loss)] if flat_now.any() else []
    warn_if_flat(flat, losses=flat_losses)
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
    """Run the three phases with the loss of ``problem``.

    Returns:
        The worst point of each image, the problem restricted to the unfinished images, and a flag
        for each image: whether its gradient was zero at some step.
    """
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
            early_stop=early_stop and factor == 1,  # success in a larger ball does not count
            start_counts=phase > 0,  # the start of the first phase is random
            during=f"phase {phase + 1} with {name_of(problem.loss)}",
        )
        point, flat = best.adversarial, flat | flat_now
    return point, left, flat


def _lengths(steps: int) -> tuple[int, int, int]:
    first = 30 * steps // 100
    return first, first, steps - 2 * first
