"""The fast gradient sign method: the cheapest attack that looks at the model."""

import torch

from palpate.attacks.core.checks import check_ball, check_images
from palpate.attacks.core.gradient_step import climb, is_stuck, look, slope, warn_if_flat
from palpate.attacks.core.problem import Problem
from palpate.attacks.losses import bce_dice
from palpate.attacks.threats import ANYWHERE, Within, threat_model
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
    loss: Loss = bce_dice,
    within: Within = ANYWHERE,
    generator: Randomness = None,  # noqa: ARG001 - all attacks are called alike
    threshold: float = 0.0,
) -> Images:
    """Fast gradient sign method (Goodfellow et al., 2015, https://arxiv.org/abs/1412.6572).

    One step across the whole ball from the clean image, returned whether or not it does harm.
    With ``norm="l2"`` the step goes along the gradient instead of its sign.

    Args:
        model: Maps images to logits of shape ``(b, 1, h, w)``. Prompts are already bound, and
            normalisation belongs to the model: attacks work in pixel space.
        images: Clean images in [0, 1], float32 or float64.
        masks: Ground truth; with ``targeted``, the masks the attacker wants to see instead.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        norm: Norm of the ball. Colour channels and pixels count as one vector per image.
        targeted: Descend towards ``masks`` instead of ascending away from them.
        loss: Quantity to maximise, one value per image, see :mod:`palpate.attacks.losses`.
        within: Where and how the perturbation may differ from the image: a threat model by name
            (``"tied"``, ``{"border": 16}``, ``["inside", "lattice"]``), see
            :func:`~palpate.attacks.threats.threat_model`. Its places are those of ``masks``.
        generator: Ignored; nothing is random here.
        threshold: Logits above it are foreground; the loss takes it for 0.

    Returns:
        Adversarial images in [0, 1], no further than ``epsilon`` from ``images``, detached.

    Raises:
        ValueError: If images, masks, epsilon, logits or loss are not as described.
        FloatingPointError: If a loss or a gradient is not finite.
        RuntimeError: If autograd finds no path from the loss to the pixels.

    Warns:
        ZeroGradientWarning: If the gradient of an image is zero everywhere.
    """
    check_images(images, masks)
    check_ball(epsilon, norm, images)
    threat = threat_model(within)
    threat.check(images, epsilon, norm)
    problem = Problem(model, images, masks, loss, targeted, torch.arange(len(images)), threshold)
    view = look(problem, images, differentiable=True, after="before the step")
    gradient = slope(problem, view, after="before the step")
    warn_if_flat(is_stuck(problem, view, threat.project(gradient, masks)))
    return climb(
        images,
        images,
        gradient,
        masks,
        step_size=epsilon,
        epsilon=epsilon,
        norm=norm,
        threat=threat,
    )
