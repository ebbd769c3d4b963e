"""The fast gradient sign method (FGSM): one step along the sign of the gradient."""

import torch

from palpate.attacks.core.checks import check_inputs
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
from palpate.types import Images, LogitsFn, Loss, Masks, Norm, Randomness


@torch.no_grad()
def fgsm(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    epsilon: float,
    norm: Norm = "linf",
    targeted: bool = False,
    loss: Loss = annealed_dice,
    within: Within = ANYWHERE,
    generator: Randomness = None,  # noqa: ARG001 - every attack has the same signature
    threshold: float = 0.0,
) -> Images:
    """Fast gradient sign method (Goodfellow et al., 2015, https://arxiv.org/abs/1412.6572).

    One step of length ``epsilon`` from the clean image. The result is returned even if it does no
    harm. With ``norm="l2"`` the step follows the gradient instead of its sign.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``. Prompts are already bound, and
            the model normalises its input itself: attacks work in pixel space.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        norm: Norm of the ball, over all channels and pixels of an image.
        targeted: Descend towards ``masks`` instead of ascending away from them.
        loss: Quantity to maximise, one value per image, see :mod:`palpate.attacks.losses`. The
            default was the strongest of those measured; ``bce_dice`` is the usual one.
        within: Threat model: which pixels the perturbation may change and how, by name
            (``"tied"``, ``{"border": 16}``, ``["inside", "lattice"]``), see
            :func:`~palpate.attacks.threats.threat_model`. It refers to ``masks``.
        generator: Ignored; the attack is deterministic.
        threshold: Logits above it are foreground. It is subtracted from the logits before the
            loss is computed.

    Returns:
        Adversarial images in [0, 1], no further than ``epsilon`` from ``images``, detached.

    Raises:
        ValueError: If images, masks, epsilon, logits or loss are not as described.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from the loss to the pixels.

    Warns:
        ZeroGradientWarning: If the gradient of an image is zero everywhere.
    """
    threat = check_inputs(images, masks, epsilon, norm, within)
    problem = Problem.of_batch(model, images, masks, loss, targeted=targeted, threshold=threshold)
    point = evaluate_point(problem, images, differentiable=True, after="before the step")
    gradient = pixel_gradient(problem, point, after="before the step")
    # Projected first: the gradient of pixels that may not change does not move an image.
    warn_if_flat(is_stuck(problem, point, threat.project(gradient, masks)))
    return take_step(
        images,
        images,
        gradient,
        masks,
        step_size=epsilon,
        epsilon=epsilon,
        norm=norm,
        threat=threat,
    )
