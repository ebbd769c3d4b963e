"""Auto-PGD (APGD): projected gradient ascent with an adaptive step size."""

from typing import Literal

import torch

from palpate.attacks.core.best import Best
from palpate.attacks.core.checks import check_inputs, check_keep, check_schedule
from palpate.attacks.core.gradient_step import warn_if_flat
from palpate.attacks.core.problem import Problem
from palpate.attacks.gradient.apgd_step import ascend
from palpate.attacks.losses import annealed_dice
from palpate.attacks.threats import ANYWHERE, Within
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
    loss: Loss = annealed_dice,
    targeted: bool = False,
    within: Within = ANYWHERE,
    generator: Randomness = None,
    threshold: float = 0.0,
    keep: Literal["dice", "loss"] = "dice",
    early_stop: bool = False,
) -> Images:
    r"""APGD (Croce & Hein, 2020, https://arxiv.org/abs/2003.01690).

    Takes steps with momentum,

    .. math:: u = \Pi(x_k + \eta \, \mathrm{steepest}(\nabla L)), \quad
              x_{k+1} = \Pi(x_k + \tfrac34 (u - x_k) + \tfrac14 (x_k - x_{k-1})).

    The first step has length :math:`\eta = 2 \epsilon`. At checkpoints, whose distance decreases,
    :math:`\eta` is halved and the attack returns to the point of highest loss if fewer than three
    quarters of the steps since the last checkpoint raised the loss, or if neither the step size
    nor the highest loss has changed since then. This is decided for each image separately.

    Where the published code differs from the paper, this follows the paper: the code rounds
    checkpoints down, also halves at exactly three quarters, and never applies the second criterion
    at the first checkpoint.

    The step size adapts to the loss, but the returned point is the one with the lowest Dice score,
    see ``keep``. A restart of N steps costs N + 1 forward and N backward passes, as for PGD. The
    starting point is never returned.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``, see :func:`palpate.attacks.pgd`.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        steps: Updates per restart. The checkpoints depend on this number, so a run of half the
            steps is not the first half of the longer run.
        random_start: Start from a uniform random point of the ball instead of the clean image.
        restarts: Independent runs; each image gets its most harmful result.
        norm: Norm of the ball, over all channels and pixels of an image.
        loss: Quantity to maximise, one value per image, see :mod:`palpate.attacks.losses`. The
            default was the strongest of those measured; ``bce_dice`` is the usual one. A
            :class:`~palpate.types.ScheduledLoss` gives the gradient by its schedule; points are
            compared by its plain value, also at checkpoints.
        targeted: Descend towards ``masks`` instead of ascending away from them.
        within: Threat model: which pixels the perturbation may change and how, see
            :func:`~palpate.attacks.threats.threat_model`.
        generator: On the CPU; one for the batch, or one per image. ``None`` uses torch's global
            generator.
        threshold: Logits above it are foreground. It is subtracted from the logits before the
            loss is computed.
        keep: ``"dice"`` returns the point with the lowest Dice score (targeted: highest); of equal
            scores, that with the highest loss. ``"loss"`` returns the point with the highest loss
            (targeted: lowest).
        early_stop: Stop attacking an image once its Dice score is 0 (targeted: 1), see
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
    threat = check_inputs(images, masks, epsilon, norm, within)
    check_schedule(steps, restarts, None)
    check_keep(keep, ("dice", "loss"), early_stop)

    problem = Problem.of_batch(model, images, masks, loss, targeted=targeted, threshold=threshold)
    best = Best(images)
    flat = torch.zeros(len(images), dtype=torch.bool)
    for restart in range(restarts):
        # Drawn for the whole batch, so that finished images do not change the draws of others.
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
