"""Auto-PGD: projected gradient ascent that finds its step size by itself."""

from typing import Literal

import torch

from palpate.attacks.core.best import Best
from palpate.attacks.core.checks import check_ball, check_images, check_keep, check_schedule
from palpate.attacks.core.gradient_step import warn_if_flat
from palpate.attacks.core.problem import Problem
from palpate.attacks.gradient.apgd_step import ascend
from palpate.attacks.losses import bce_dice
from palpate.attacks.threats import ANYWHERE, Within, threat_model
from palpate.types import Images, LogitsFn, Loss, Masks, Norm, Randomness


@torch.no_grad()
def apgd(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    epsilon: float,
    steps: int = 100,
    random_start: bool = True,
    restarts: int = 1,
    norm: Norm = "linf",
    loss: Loss = bce_dice,
    targeted: bool = False,
    within: Within = ANYWHERE,
    generator: Randomness = None,
    threshold: float = 0.0,
    keep: Literal["dice", "loss"] = "dice",
    early_stop: bool = False,
) -> Images:
    r"""APGD (Croce & Hein, 2020, https://arxiv.org/abs/2003.01690).

    Steps with momentum,

    .. math:: u = \Pi(x_k + \eta \, \mathrm{steepest}(\nabla L)), \quad
              x_{k+1} = \Pi(x_k + \tfrac34 (u - x_k) + \tfrac14 (x_k - x_{k-1})),

    the first of length :math:`\eta = 2 \epsilon`. At checkpoints that come ever closer, an image
    halves its :math:`\eta` and goes back to its point of highest loss if fewer than three
    quarters of the steps since the last checkpoint raised the loss, or if neither the step size
    nor the highest loss has changed since then. Every image has a schedule of its own.

    Where the published code and the paper differ this is the paper: the code rounds checkpoints
    down, halves also at exactly three quarters, and never for the second reason at the first one.

    The loss drives the schedule; what comes back is the point of the lowest Dice score. A
    restart costs N + 1 forward and N backward passes, as PGD does. Its starting point is no
    candidate.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, see :func:`palpate.attacks.pgd`.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        steps: Moves per restart. The schedule is laid out over all of them, so half the steps
            are not the first half of the same run.
        random_start: Start from a uniform point of the ball instead of the clean image.
        restarts: Independent runs; each image keeps its most harmful result.
        norm: Norm of the ball. Colour channels and pixels count as one vector per image.
        loss: Quantity to maximise, one value per image, see :mod:`palpate.attacks.losses`. A
            :class:`~palpate.types.ScheduledLoss` is climbed by its slope of the moment and
            judged, in the schedule too, by its value.
        targeted: Descend towards ``masks`` instead of ascending away from them.
        within: Where and how the perturbation may differ from the image, see
            :func:`~palpate.attacks.threats.threat_model`.
        generator: On the CPU; one for the batch, or one per image. ``None`` uses torch's own.
        threshold: Logits above it are foreground when the Dice score is taken; the loss takes it
            for 0.
        keep: ``"dice"`` gives back the point of the lowest Dice score (highest, if targeted),
            equals by the loss; ``"loss"`` that of the highest loss (lowest, if targeted).
        early_stop: Leave images alone from the moment their Dice score is 0 (targeted: 1), see
            :func:`palpate.attacks.pgd`.

    Returns:
        Adversarial images in [0, 1], no further than ``epsilon`` from ``images``, detached.

    Raises:
        ValueError: If images, masks, budgets, logits or loss are not as described.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from the loss to the pixels.

    Warns:
        ZeroGradientWarning: If the gradient of an image was zero everywhere at some step.
    """
    check_images(images, masks)
    check_ball(epsilon, norm, images)
    check_schedule(steps, restarts, None)
    check_keep(keep, ("dice", "loss"), early_stop)
    threat = threat_model(within)
    threat.check(images, epsilon, norm)

    problem = Problem(model, images, masks, loss, targeted, torch.arange(len(images)), threshold)
    best = Best(images)
    flat = torch.zeros(len(images), dtype=torch.bool)
    for restart in range(restarts):
        # Drawn for the whole batch, so that finished images shift nobody's random numbers.
        start = images
        if random_start:
            start = threat.random_start(images, masks, epsilon, norm, generator)
        problem, flat_now = ascend(
            problem,
            start[problem.rows],
            best,
            epsilon=epsilon,
            steps=steps,
            norm=norm,
            threat=threat,
            threshold=threshold,
            keep=keep,
            early_stop=early_stop,
            start_counts=False,
            during=f"restart {restart + 1}",
        )
        flat |= flat_now
    warn_if_flat(flat)
    return best.adversarial
