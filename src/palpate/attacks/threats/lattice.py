"""The 8-bit lattice: images whose values are multiples of 1/255."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.geometry import norms
from palpate.types import Images, Norm

GREYS = 255
_BISECTIONS = 30
_SLACK = 1e-4  # in grey levels: in floating point 8 / 255 * 255 may be less than 8


def store(images: Images, delta: Images, epsilon: float, norm: Norm, *, tied: bool) -> Images:
    """Round ``images + delta`` to whole grey levels, within the ball and [0, 1].

    For ``l2``, where rounding may leave the ball, the perturbation is first shortened by as little
    as possible.

    Args:
        images: Clean images on the 8-bit lattice.
        delta: Perturbations within the ball.
        epsilon: Radius of the ball, in units of pixel value.
        norm: Norm of the ball.
        tied: Whether all channels of ``delta`` are equal and must stay equal.

    Returns:
        Images with values ``k / 255``, ``k`` an integer, equal to those of a decoded 8-bit file.
    """
    wanted = delta * GREYS
    if norm == "linf":
        room = float(int(epsilon * GREYS + _SLACK))
        levels = wanted.round().clamp(-room, room)
    else:
        # The l2 norm of c equal channels is sqrt(c) times that of one, so one is enough.
        channels = wanted.shape[1] if tied else 1
        free = wanted[:, :1] if tied else wanted
        as_it_is = torch.ones_like(wanted[:, :1, :1, :1])
        levels = _longest(free, as_it_is, epsilon * GREYS / math.sqrt(channels))
    return ((images * GREYS).round() + levels).clamp(0, GREYS) / GREYS


def whole_step(direction: Images, length: float, norm: Norm, *, tied: bool) -> Images:
    """A step of whole grey levels along a direction, at least one level long.

    Plain rounding would turn a short step into no step. For ``linf`` the length is rounded; for
    ``l2`` the largest values of the direction move, as many as the length allows.

    Args:
        direction: Directions of unit length, or zero.
        length: Length of the step, in units of pixel value.
        norm: Norm in which lengths are measured.
        tied: See :func:`store`.
    """
    if norm == "linf":
        return direction.round() * (max(round(length * GREYS), 1) / GREYS)
    channels = direction.shape[1] if tied else 1
    free = direction[:, :1] if tied else direction
    levels = max(length * GREYS / math.sqrt(channels), 1.0)
    largest = norms(free, "linf").clamp_min(1e-6).view(-1, 1, 1, 1)
    # An upper bound for the bisection: with this factor the largest value alone is too long.
    return _longest(free, (levels + 1) / largest, levels).expand_as(direction) / GREYS


def is_stored(images: Images) -> bool:
    """Whether all values are multiples of 1/255."""
    levels = images * GREYS
    return bool((levels - levels.round()).abs().max() < _SLACK)


def _longest(wanted: Images, most: Float[Tensor, "b 1 1 1"], length: float) -> Images:
    """Scale ``wanted`` by the largest factor up to ``most`` whose rounded result is in the ball.

    The length after rounding grows with the factor, so a bisection finds it.
    """
    low, high = torch.zeros_like(most), most
    for factor in (most, *[None] * _BISECTIONS):
        middle = (low + high) / 2 if factor is None else factor
        fits = (norms((wanted * middle).round(), "l2") <= length * (1 + 1e-6)).view(-1, 1, 1, 1)
        low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
    return _filled((wanted * low).round(), (wanted * high).round(), length)


def _filled(levels: Images, beyond: Images, length: float) -> Images:
    """Replace values of ``levels`` by those of ``beyond``, as many as the length allows.

    The two differ where values are so similar that no single factor separates them.
    """
    cost = (beyond.square() - levels.square()).flatten(1).double()
    left = length**2 * (1 + 1e-6) - levels.flatten(1).double().square().sum(1, keepdim=True)
    affordable = (cost.cumsum(1) <= left).view_as(levels)
    return torch.where(affordable, beyond, levels)
