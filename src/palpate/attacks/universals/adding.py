"""A universal perturbation as an attack: added to every image alike."""

import torch

from palpate.attacks.core.checks import check_inputs
from palpate.attacks.threats import ANYWHERE, Within
from palpate.attacks.universals.perturbation import UniversalPerturbation
from palpate.randomness import generator as named_generator
from palpate.types import Images, LogitsFn, Masks, Norm, Randomness


@torch.no_grad()
def universal(
    model: LogitsFn,  # noqa: ARG001 - every attack has the same signature
    images: Images,
    masks: Masks,
    *,
    epsilon: float,
    perturbation: UniversalPerturbation,
    shuffled: bool = False,
    norm: Norm = "linf",
    within: Within = ANYWHERE,
    generator: Randomness = None,  # noqa: ARG001 - nothing is random here
) -> Images:
    """Add one perturbation to every image (Moosavi-Dezfooli et al., 2017).

    https://arxiv.org/abs/1610.08401. It looks neither at the model nor at the masks, so it says
    how an attacker fares who knows nothing of the image at hand. Report it on images it was not
    fitted to, beside two controls: :func:`~palpate.attacks.noise` at the same epsilon, and its own
    values in other places (``shuffled``). What it does beyond both is due to its pattern.

    Args:
        model: Not called.
        images: Clean images in [0, 1]. Where their size is not the perturbation's, that is
            resized, see :meth:`UniversalPerturbation.fitted_to`.
        masks: Not used, but for threat models that name a place.
        epsilon: Radius of the ball. Where it is not the one that the perturbation was fitted in,
            that is scaled in proportion.
        perturbation: From :func:`fit_universal` or :meth:`UniversalPerturbation.load`.
        shuffled: Move the pixels of the perturbation to random places, the same for all images of
            a size; the channels of a pixel stay together.
        norm: Norm of the ball; must be the perturbation's.
        within: A threat model the result must obey, such as ``"lattice"``, see
            :func:`~palpate.attacks.threats.threat_model`.
        generator: Ignored; nothing is random here.

    Returns:
        Adversarial images in [0, 1], no further than ``epsilon`` from ``images``, detached.

    Raises:
        ValueError: If images, masks, epsilon or norm are not as described, or the perturbation
            has other channels than the images.
    """
    threat = check_inputs(images, masks, epsilon, norm, within)
    _check_fit(perturbation, images, norm)
    delta = perturbation.fitted_to(*images.shape[2:]).to(images)
    if shuffled:
        delta = _elsewhere(delta)
    delta = delta * (epsilon / perturbation.epsilon)
    return threat.settle(images, delta.expand_as(images), masks, epsilon, norm)


def _elsewhere(delta: torch.Tensor) -> torch.Tensor:
    pixels = delta[0].numel()
    places = torch.randperm(pixels, generator=named_generator(0, "shuffled", pixels))
    return delta.flatten(1)[:, places.to(delta.device)].view_as(delta)


def _check_fit(perturbation: UniversalPerturbation, images: Images, norm: str) -> None:
    if norm != perturbation.norm:
        raise ValueError(
            f"Expected norm {perturbation.norm!r}, in which the perturbation was fitted, got "
            f"{norm!r}."
        )
    if len(perturbation.delta) != images.shape[1]:
        raise ValueError(
            f"Expected images of {len(perturbation.delta)} channels, as the perturbation has, got "
            f"{images.shape[1]}."
        )
    if not perturbation.epsilon > 0:
        raise ValueError("Expected a perturbation fitted with epsilon > 0, got epsilon 0.")
