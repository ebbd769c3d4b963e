"""Geometry of the norm balls: length, steepest direction, projection, sampling."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.types import Images, Norm, PerImage, Randomness

_TINY = 1e-12


def norms(delta: Images, norm: Norm) -> PerImage:
    """Length of each perturbation; channels and pixels count as one vector per image."""
    order = {"l2": 2.0, "linf": float("inf")}[norm]
    lengths: Tensor = torch.linalg.vector_norm(delta.flatten(1), ord=order, dim=1)
    return lengths


def steepest(gradient: Images, norm: Norm) -> Images:
    """Unit-length direction along which a linear function grows fastest."""
    if norm == "linf":
        return gradient.sign()
    return gradient / _per_image(norms(gradient, "l2").clamp_min(_TINY))


def project(delta: Images, epsilon: float, norm: Norm) -> Images:
    """Nearest point of the ball of radius ``epsilon``; points inside do not move."""
    if norm == "linf":
        return delta.clamp(-epsilon, epsilon)
    return delta * _per_image((epsilon / norms(delta, "l2").clamp_min(_TINY)).clamp_max(1.0))


def stay_in_pixel_range(delta: Images, images: Images) -> Images:
    """Shrink ``delta`` until ``images + delta`` is an image again.

    Clamping moves every pixel towards its clean value, so no norm grows and the ball
    constraint survives; the two constraints may be applied one after the other.
    """
    return (images + delta).clamp(0.0, 1.0) - images


def random_in_ball(like: Images, epsilon: float, norm: Norm, generator: Randomness) -> Images:
    """One perturbation per image, uniform in the ball of radius ``epsilon``.

    Args:
        like: Gives shape, device and type.
        epsilon: Radius, in units of pixel value.
        norm: Norm of the ball.
        generator: On the CPU, whatever the device, so that a seed means the same noise
            everywhere. A sequence gives one generator per image.
    """
    if norm == "linf":
        return epsilon * (2 * _draw(torch.rand, like, generator) - 1)
    direction = steepest(_draw(torch.randn, like, generator), "l2")
    radius = _draw(torch.rand, like[:, :1, :1, :1], generator) ** (1 / like[0].numel())
    return epsilon * radius * direction


def _draw(distribution: object, like: Tensor, generator: Randomness) -> Tensor:
    assert callable(distribution)
    if not isinstance(generator, Sequence):
        return distribution(like.shape, generator=generator).to(like)  # type: ignore[no-any-return]
    if len(generator) != len(like):
        raise ValueError(f"Expected one generator per image ({len(like)}), got {len(generator)}.")
    return torch.stack([distribution(like.shape[1:], generator=g) for g in generator]).to(like)


def _per_image(values: PerImage) -> Float[Tensor, "b 1 1 1"]:
    return values.view(-1, 1, 1, 1)
