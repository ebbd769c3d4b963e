"""The L2 form of Square Attack: bumps, whose length is moved from one square to another."""

from math import sqrt

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from palpate.attacks.core.draws import random_integer
from palpate.geometry import norms, perturb, random_direction, steepest
from palpate.types import Images

_GRID = 5  # initial number of tiles along each side


def start(image: Images, epsilon: float, random: Generator) -> Images:
    """The first perturbation, of length epsilon: a grid of bumps with random signs per channel."""
    height, width = image.shape[2:]
    side = max(1, min(height, width) // _GRID)
    delta = torch.zeros_like(image)
    for top in _offsets(height, side):
        for left in _offsets(width, side):
            colours = random_direction(image[:, :, :1, :1], "linf", random)
            tile = delta[:, :, top : top + side, left : left + side]
            tile.copy_(colours * two_bumps(side, random).to(delta))
    return epsilon * steepest(delta, "l2")


def move(image: Images, delta: Images, share: float, epsilon: float, random: Generator) -> Images:
    """The next candidate: move the length of one square to another, as a bump.

    The bump is added to the normalised content of the square. Per channel, the result has the L2
    length of both squares together, plus the part of epsilon that clipping left unused.
    """
    delta = perturb(image, delta) - image  # what remains of it after clipping to [0, 1]
    side = _odd_side(share, *image.shape[2:])
    window, other = (_window(delta, side, random) for _ in range(2))
    either = torch.zeros_like(delta, dtype=torch.bool)
    either[window], either[other] = True, True
    available = (delta * either).square().sum((2, 3), keepdim=True)
    unused = max(epsilon**2 - norms(delta, "l2").item() ** 2, 0.0)

    colours = random_direction(delta[:, :, :1, :1], "linf", random)
    old = delta[window]
    bump = colours * two_bumps(side, random).to(delta) + old / _length(old)
    changed = delta.clone()
    changed[other] = 0
    changed[window] = bump / _length(bump) * (available + unused / delta.shape[1]).sqrt()
    return epsilon * steepest(changed, "l2")


def two_bumps(side: int, random: Generator) -> Float[Tensor, "n n"]:
    r"""A square of unit L2 length: a positive bump beside a negative one, randomly oriented.

    At Chebyshev distance :math:`r` from its centre, a bump has the height
    :math:`\sum_{k > r} k^{-2}`, summed up to the distance of its border.
    """
    half = side // 2
    hill, valley = _hill(half, side), -_hill(side - half, side)
    pair = _unit(torch.cat([hill, valley]))
    return pair.T if random_integer(2, random) else pair


def _hill(height: int, width: int) -> Float[Tensor, "m n"]:
    rings = max(height, width) // 2 + 1
    heights = torch.arange(1.0, rings + 1).pow(-2).flip(0).cumsum(0).flip(0)  # from the centre
    down, across = ((torch.arange(n) - n // 2).abs() for n in (height, width))
    distance = torch.maximum(down[:, None], across[None, :])
    return _unit(heights[distance])


def _unit(values: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    length: Tensor = torch.linalg.vector_norm(values)
    return values / length.clamp_min(1e-10)  # a bump of width 0 has no pixels


def _odd_side(share: float, height: int, width: int) -> int:
    side = max(3, round(sqrt(share * height * width)))
    side = min(side, height, width)
    return side if side % 2 or side == min(height, width) else side + 1


def _window(delta: Images, side: int, random: Generator) -> tuple[slice, ...]:
    height, width = delta.shape[2:]
    top, left = (random_integer(length - side + 1, random) for length in (height, width))
    return (slice(None), slice(None), slice(top, top + side), slice(left, left + side))


def _offsets(length: int, side: int) -> range:
    tiles = length // side
    first = (length - tiles * side) // 2
    return range(first, first + tiles * side, side)


def _length(window: Images) -> Float[Tensor, "1 c 1 1"]:
    return window.square().sum((2, 3), keepdim=True).sqrt().clamp_min(1e-10)
