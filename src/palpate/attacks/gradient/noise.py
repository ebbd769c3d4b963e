"""Random perturbations: the control that every attack has to beat."""

from typing import Literal, TypeAlias

import torch

from palpate.attacks.core.checks import check_ball, check_images
from palpate.attacks.threats import ANYWHERE, Within, threat_model
from palpate.types import Images, LogitsFn, Masks, Norm, Randomness

Spread: TypeAlias = Literal["extreme", "uniform"]


@torch.no_grad()
def noise(
    model: LogitsFn,  # noqa: ARG001 - all attacks are called alike
    images: Images,
    masks: Masks,
    *,
    epsilon: float,
    norm: Norm = "linf",
    spread: Spread = "extreme",
    within: Within = ANYWHERE,
    generator: Randomness = None,
) -> Images:
    """Random noise of the same budget: a control, not an attack.

    One draw per image, without a look at the model. What an attack does beyond this is due to
    its direction; what this does already, any disturbance of that size would do.

    Args:
        model: Not called.
        images: Clean images in [0, 1].
        masks: Ground truth; only some threat models use it.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        norm: Norm of the ball.
        spread: ``"extreme"`` uses the whole budget as attacks do: ``linf`` adds epsilon with a
            random sign to every value, ``l2`` goes epsilon far in a random direction.
            ``"uniform"`` draws from anywhere in the ball, as the random start of PGD does.
        within: Where and how the perturbation may differ from the image: a threat model by name
            (``"tied"``, ``{"border": 16}``, ``["inside", "lattice"]``), see
            :func:`~palpate.attacks.threats.threat_model`. Its places are those of ``masks``.
        generator: On the CPU; one for the batch or one per image.

    Returns:
        Noisy images in [0, 1], no further than ``epsilon`` from ``images``.

    Raises:
        ValueError: If images, masks, epsilon or spread are not as described.
    """
    check_images(images, masks)
    check_ball(epsilon, norm, images)
    threat = threat_model(within)
    threat.check(images, epsilon, norm)
    if spread == "extreme":
        delta = threat.random_direction(images, masks, epsilon, norm, generator)
        return threat.settle(images, delta, masks, epsilon, norm)
    if spread == "uniform":
        return threat.random_start(images, masks, epsilon, norm, generator)
    raise ValueError(f"Expected spread 'extreme' or 'uniform', got {spread!r}.")
