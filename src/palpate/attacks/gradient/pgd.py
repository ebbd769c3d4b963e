"""Projected gradient descent (PGD): the reference attack."""

from typing import Literal, TypeAlias

import torch

from palpate.attacks.core.best import Best, is_worst, rank
from palpate.attacks.core.checks import check_inputs, check_keep, check_schedule
from palpate.attacks.core.gradient_step import (
    evaluate_point,
    is_stuck,
    pixel_gradient,
    take_step,
    warn_if_flat,
)
from palpate.attacks.core.problem import Problem
from palpate.attacks.losses import annealed_dice
from palpate.attacks.threats import ANYWHERE, Within
from palpate.overlap import count, dice
from palpate.types import Images, LogitsFn, Loss, Masks, Norm, Randomness

Keep: TypeAlias = Literal["dice", "loss", "last"]

_GREY_LEVEL = 1 / 255


@torch.no_grad()
def pgd(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    epsilon: float,
    steps: int = 40,
    step_size: float | None = None,
    random_start: bool = True,
    restarts: int = 1,
    norm: Norm = "linf",
    loss: Loss = annealed_dice,
    targeted: bool = False,
    within: Within = ANYWHERE,
    generator: Randomness = None,
    threshold: float = 0.0,
    keep: Keep = "dice",
    early_stop: bool = False,
) -> Images:
    r"""Projected gradient descent (Madry et al., 2018, https://arxiv.org/abs/1706.06083).

    Takes steps in the steepest direction of the loss and projects on the ball after every step,

    .. math:: \delta \leftarrow \Pi_\epsilon(\delta + \alpha \, \mathrm{steepest}(\nabla_\delta L)).

    N steps are N updates. Each iterate is scored in the forward pass of the step that starts from
    it, the last one in an additional pass: N + 1 forward and N backward passes per restart. The
    starting point is never returned, so one step without a random start is FGSM.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``. Prompts are already bound, and
            the model normalises its input itself: attacks work in pixel space.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        steps: Updates per restart.
        step_size: Length of one step, in the units of ``epsilon``, see :func:`default_step_size`.
        random_start: Start from a uniform random point of the ball instead of the clean image.
        restarts: Independent runs; each image gets its most harmful result.
        norm: Norm of the ball, over all channels and pixels of an image.
        loss: Quantity to maximise, one value per image, see :mod:`palpate.attacks.losses`. The
            default was the strongest of those measured; ``bce_dice`` is the usual one.
        targeted: Descend towards ``masks`` instead of ascending away from them.
        within: Threat model: which pixels the perturbation may change and how, by name
            (``"tied"``, ``{"border": 16}``, ``["inside", "lattice"]``), see
            :func:`~palpate.attacks.threats.threat_model`. It refers to ``masks``.
        generator: On the CPU; one for the batch, or one per image, so that an image gets the same
            random numbers in every batch. ``None`` uses torch's global generator.
        threshold: Logits above it are foreground. It is subtracted from the logits before the
            loss is computed.
        keep: Which iterate is returned for an image. ``"dice"``: the one with the lowest Dice
            score (targeted: highest); of equal scores, that with the highest loss (targeted:
            lowest). ``"loss"``: the one with the highest loss (targeted: lowest). ``"last"``: the
            last iterate of the restart whose last iterate has the highest loss (targeted: lowest).
        early_stop: Stop attacking an image once its Dice score is 0 (targeted: 1). This saves
            passes and changes no score, but returns the first such iterate instead of the one of
            highest loss. If ``model`` holds data per image, it must be a ``partial`` with
            ``prompts`` or :class:`~palpate.attacks.Selectable`.

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
    check_schedule(steps, restarts, step_size)
    check_keep(keep, ("dice", "loss", "last"), early_stop)
    if step_size is None:
        step_size = default_step_size(epsilon, steps, norm)

    problem = Problem.of_batch(model, images, masks, loss, targeted=targeted, threshold=threshold)
    best = Best(images)
    flat = torch.zeros(len(images), dtype=torch.bool)
    for restart in range(restarts):
        # Drawn for the whole batch, so that finished images do not change the draws of others.
        start = images
        if random_start:
            start = threat.random_start(images, masks, epsilon, norm, generator)
        adversarial = start[problem.rows]
        for step in range(steps + 1):  # the additional pass scores the last iterate
            if len(problem.rows) == 0:
                break
            after = f"after {step} of {steps} steps of restart {restart + 1}"
            point = evaluate_point(
                problem,
                adversarial,
                differentiable=step < steps,
                after=after,
                progress=step / steps,
            )
            scores = dice(count(point.logits > threshold, problem.masks)).to(adversarial)
            if step > 0 and (keep != "last" or step == steps):
                best.update(problem.rows, adversarial, rank(scores, keep, targeted), point.harm)
            finished = is_worst(scores, problem.masks, targeted=targeted)
            # Finished images leave the batch, so that later passes cost less.
            going = ~finished if early_stop and step > 0 else torch.ones_like(finished)
            if step < steps and going.any():
                gradient = pixel_gradient(problem, point, after=after)
                within_threat = threat.project(gradient, problem.masks)
                flat[problem.rows] |= is_stuck(problem, point, within_threat).cpu()
                adversarial = take_step(
                    problem.images,
                    adversarial,
                    gradient,
                    problem.masks,
                    step_size=step_size,
                    epsilon=epsilon,
                    norm=norm,
                    threat=threat,
                )
            problem, adversarial = problem.select(going), adversarial[going]
    warn_if_flat(flat)
    return best.adversarial


def default_step_size(epsilon: float, steps: int, norm: Norm) -> float:
    """Default step length for a radius and a number of steps, in the units of ``epsilon``.

    It is ``2.5 * epsilon / steps``, so that the total length of the steps exceeds the diameter of
    the ball by a quarter. For ``linf`` it is at least one grey level, 1/255, because smaller
    differences cannot be stored in 8-bit images, and at most ``epsilon``, because a longer step
    from the centre is clipped. For ``l2`` there are no such bounds, because the length of a step
    does not determine the change of single pixels.

    Args:
        epsilon: Radius of the ball, in units of pixel value.
        steps: Number of updates.
        norm: Norm of the ball.

    >>> default_step_size(8 / 255, 10, "linf") == 2 / 255
    True
    >>> default_step_size(1 / 255, 40, "linf") == 1 / 255
    True
    """
    across = 2.5 * epsilon / steps
    return min(max(across, _GREY_LEVEL), epsilon) if norm == "linf" else across
