"""The attack that adds the same universal perturbation to every image."""

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

    https://arxiv.org/abs/1610.08401. Neither the model nor the images are used, so this measures
    the harm done by an attacker who has not seen the image. Report it on images that the
    perturbation was not fitted to, together with two controls: :func:`~palpate.attacks.noise` at
    the same epsilon, and the same perturbation with its pixels permuted (``shuffled``). Harm beyond
    both controls is due to the spatial pattern.

    Args:
        model: Not called.
        images: Clean images in [0, 1]. If they differ in size from the perturbation, it is
            resized, see :meth:`UniversalPerturbation.fitted_to`.
        masks: Ground truth; used by some threat models only.
        epsilon: Radius of the ball, in units of pixel value. If it differs from the radius that
            the perturbation was fitted with, the perturbation is scaled in proportion.
        perturbation: From :func:`fit_universal` or :meth:`UniversalPerturbation.load`.
        shuffled: Permute the pixels of the perturbation at random. The permutation is the same for
            all images of one size, and the channels of a pixel stay together.
        norm: Norm of the ball; must be that of the perturbation.
        within: A threat model the result must obey, such as ``"lattice"``, see
            :func:`~palpate.attacks.threats.threat_model`.
        generator: Ignored; nothing is random here.

    Returns:
        Adversarial images in [0, 1], no further than ``epsilon`` from ``images``, detached.

    Raises:
        ValueError: If images, masks, epsilon or norm are not as described, or the perturbation
            and the images differ in their number of channels.
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
    # A fixed seed: one permutation for each image size, independent of batches and runs.
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
