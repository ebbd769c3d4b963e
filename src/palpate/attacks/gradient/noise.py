"""Random perturbations, the control that attacks are compared with."""

from typing import Literal, TypeAlias

import torch

from palpate.attacks.core.checks import check_inputs
from palpate.attacks.threats import ANYWHERE, Within
from palpate.types import Images, LogitsFn, Masks, Norm, Randomness

Spread: TypeAlias = Literal["extreme", "uniform"]


@torch.no_grad()
def noise(
    model: LogitsFn,  # noqa: ARG001 - every attack has the same signature
    images: Images,
    masks: Masks,
    *,
    epsilon: float,
    norm: Norm = "linf",
    spread: Spread = "extreme",
    within: Within = ANYWHERE,
    generator: Randomness = None,
) -> Images:
    """Random noise within the same ball: a control, not an attack.

    One draw per image, independent of the model. If an attack of the same radius does more harm,
    the difference is due to the direction of its perturbation, not to its size.

    Args:
        model: Not called.
        images: Clean images in [0, 1].
        masks: Ground truth; used by some threat models only.
        epsilon: Radius of the ball, in units of pixel value (``8 / 255``, not ``8``).
        norm: Norm of the ball.
        spread: ``"extreme"`` uses the whole radius, as attacks do: ``linf`` adds epsilon with a
            random sign to every value, ``l2`` moves by epsilon in a random direction.
            ``"uniform"`` draws uniformly from the ball, as the random start of PGD does.
        within: Threat model: which pixels the perturbation may change and how, by name
            (``"tied"``, ``{"border": 16}``, ``["inside", "lattice"]``), see
            :func:`~palpate.attacks.threats.threat_model`. It refers to ``masks``.
        generator: On the CPU; one for the batch or one per image.

    Returns:
        Noisy images in [0, 1], no further than ``epsilon`` from ``images``.

    Raises:
        ValueError: If images, masks, epsilon or spread are not as described.
    """
    threat = check_inputs(images, masks, epsilon, norm, within)
    if spread == "extreme":
        delta = threat.random_direction(images, masks, epsilon, norm, generator)
        return threat.settle(images, delta, masks, epsilon, norm)
    if spread == "uniform":
        return threat.random_start(images, masks, epsilon, norm, generator)
    raise ValueError(f"Expected spread 'extreme' or 'uniform', got {spread!r}.")
