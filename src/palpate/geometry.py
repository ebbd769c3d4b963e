"""Geometry of the norm balls: length, steepest direction, projection, sampling."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.types import Images, Norm, PerImage, Randomness


def norms(delta: Images, norm: Norm) -> PerImage:
    """Length of each perturbation; channels and pixels count as one vector per image."""
    order = {"l2": 2.0, "linf": float("inf")}[norm]
    # In float32 the sum of a million squares is wrong in the fifth digit: a ball would leak.
    lengths: Tensor = torch.linalg.vector_norm(delta.flatten(1), order, 1, dtype=torch.float64)
    return lengths.to(delta)


def steepest(gradient: Images, norm: Norm) -> Images:
    """Unit-length direction along which a linear function grows fastest; zero where flat."""
    if norm == "linf":
        return gradient.sign()
    return gradient / _per_image(_not_zero(norms(gradient, "l2")))


def project(delta: Images, epsilon: float, norm: Norm) -> Images:
    """Nearest point of the ball of radius ``epsilon``; points inside do not move."""
    if norm == "linf":
        return delta.clamp(-epsilon, epsilon)
    return delta * _per_image((epsilon / _not_zero(norms(delta, "l2"))).clamp_max(1.0))


def perturb(images: Images, delta: Images) -> Images:
    """Valid images, no pixel of which is farther from ``images`` than ``delta`` says.

    Clamping to [0, 1] moves pixels towards their clean values, so no norm grows. Nor does
    rounding: near 1 the sum of an image and 1/255 is off by up to 8e-6 of the step, and a sum
    that rounding has pushed outwards is taken back by one floating-point number.
    """
    moved = images + delta
    too_far = (moved - images).abs() > delta.abs()
    return torch.where(too_far, torch.nextafter(moved, images), moved).clamp(0.0, 1.0)


def random_direction(like: Images, norm: Norm, generator: Randomness) -> Images:
    """One direction of unit length per image.

    Uniform on the sphere for ``l2``; a corner of the cube (random signs) for ``linf``.

    Args:
        like: Gives shape, device and type.
        norm: Norm in which the length is 1.
        generator: See :func:`random_in_ball`.
    """
    if norm == "linf":
        return torch.where(_draw(torch.rand, like, generator) < 0.5, -1.0, 1.0).to(like)
    return steepest(_draw(torch.randn, like, generator), "l2")


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
    direction = random_direction(like, "l2", generator)
    radius = _draw(torch.rand, like[:, :1, :1, :1], generator) ** (1 / like[0].numel())
    return epsilon * radius * direction


def _draw(distribution: object, like: Tensor, generator: Randomness) -> Tensor:
    assert callable(distribution)
    if not isinstance(generator, Sequence):
        return distribution(like.shape, generator=generator).to(like)  # type: ignore[no-any-return]
    if len(generator) != len(like):
        raise ValueError(f"Expected one generator per image ({len(like)}), got {len(generator)}.")
    return torch.stack([distribution(like.shape[1:], generator=g) for g in generator]).to(like)


def _not_zero(lengths: PerImage) -> PerImage:
    return lengths.clamp_min(torch.finfo(lengths.dtype).tiny)


def _per_image(values: PerImage) -> Float[Tensor, "b 1 1 1"]:
    return values.view(-1, 1, 1, 1)
