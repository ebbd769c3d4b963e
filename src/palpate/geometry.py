"""Geometry of the norm balls: length, steepest direction, projection, sampling."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.types import Images, Norm, PerImage, Randomness


def norms(delta: Images, norm: Norm) -> PerImage:
    """Norm of each perturbation, over all channels and pixels of an image.

    Args:
        delta: Perturbations ``(b, c, h, w)``.
        norm: ``"l2"`` or ``"linf"``.
    """
    order = {"l2": 2.0, "linf": float("inf")}[norm]
    # In float32 the sum of a million squares is wrong in the fifth digit, so points outside the
    # ball could count as inside.
    lengths: Tensor = torch.linalg.vector_norm(delta.flatten(1), order, 1, dtype=torch.float64)
    return lengths.to(delta)


def steepest(gradient: Images, norm: Norm) -> Images:
    """Direction of unit norm in which a linear function with this gradient grows fastest.

    Zero where the gradient is zero.
    """
    if norm == "linf":
        return gradient.sign()
    return gradient / _per_image(_not_zero(norms(gradient, "l2")))


def project(delta: Images, epsilon: float, norm: Norm) -> Images:
    """Project perturbations on the ball of radius ``epsilon``; points inside do not move."""
    if norm == "linf":
        return delta.clamp(-epsilon, epsilon)
    return delta * _per_image((epsilon / _not_zero(norms(delta, "l2"))).clamp_max(1.0))


def perturb(images: Images, delta: Images) -> Images:
    """Add perturbations to images without leaving [0, 1] or increasing any norm.

    Clamping to [0, 1] moves pixels towards their clean values. Rounding can move them away: near 1
    the sum of a pixel and 1/255 is off by up to 8e-6 of the step. Such a sum is replaced by the
    next floating-point number towards the clean value.

    Args:
        images: Clean images in [0, 1].
        delta: Perturbations, in units of pixel value.

    Returns:
        Images in [0, 1], in which no pixel differs from ``images`` by more than ``delta``.
    """
    moved = images + delta
    too_far = (moved - images).abs() > delta.abs()
    return torch.where(too_far, torch.nextafter(moved, images), moved).clamp(0.0, 1.0)


def random_direction(like: Images, norm: Norm, generator: Randomness) -> Images:
    """One direction of unit length per image.

    Uniform on the sphere for ``l2``; a corner of the cube (random signs) for ``linf``.

    Args:
        like: Tensor of the wanted shape, device and type.
        norm: Norm in which the length is 1.
        generator: See :func:`random_in_ball`.
    """
    if norm == "linf":
        return torch.where(_draw(torch.rand, like, generator) < 0.5, -1.0, 1.0).to(like)
    return steepest(_draw(torch.randn, like, generator), "l2")


def random_in_ball(like: Images, epsilon: float, norm: Norm, generator: Randomness) -> Images:
    """One perturbation per image, uniform in the ball of radius ``epsilon``.

    Args:
        like: Tensor of the wanted shape, device and type.
        epsilon: Radius, in units of pixel value.
        norm: Norm of the ball.
        generator: Generator on the CPU, so that a seed gives the same noise on every device. A
            sequence has one generator per image.

    Raises:
        ValueError: If the number of generators is not the number of images.
    """
    if norm == "linf":
        return epsilon * (2 * _draw(torch.rand, like, generator) - 1)
    direction = random_direction(like, "l2", generator)
    # The volume within radius r grows with r ** dimension; this root makes the density uniform.
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
