"""The lattice of images that 8 bits a value can store."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.geometry import norms
from palpate.types import Images, Norm

GREYS = 255
_BISECTIONS = 30
_SLACK = 1e-4  # in grey levels: 8 / 255 * 255 may fall short of 8


def store(images: Images, delta: Images, epsilon: float, norm: Norm, *, tied: bool) -> Images:
    """The image of whole grey levels nearest to ``images + delta`` in the ball and in [0, 1].

    For ``l2``, where rounding may leave the ball, the perturbation is shortened before it is
    rounded, as little as possible.

    Args:
        images: Clean images, whole grey levels themselves.
        delta: Perturbations within the ball.
        epsilon: Radius of the ball.
        norm: Norm of the ball.
        tied: Whether all channels of ``delta`` are alike and have to stay so.

    Returns:
        Values ``k / 255`` with whole ``k``, exactly as a decoded file has them.
    """
    wanted = delta * GREYS
    if norm == "linf":
        room = float(int(epsilon * GREYS + _SLACK))
        levels = wanted.round().clamp(-room, room)
    else:
        channels = wanted.shape[1] if tied else 1
        free = wanted[:, :1] if tied else wanted
        as_it_is = torch.ones_like(wanted[:, :1, :1, :1])
        levels = _longest(free, as_it_is, epsilon * GREYS / math.sqrt(channels))
    return ((images * GREYS).round() + levels).clamp(0, GREYS) / GREYS


def whole_step(direction: Images, length: float, norm: Norm, *, tied: bool) -> Images:
    """A step of whole grey levels along a direction, at least one level long.

    Rounding a short step would leave nothing of it. For ``linf`` its length is rounded; for
    ``l2`` the values that matter most move, as many as the length allows.

    Args:
        direction: Of unit length, or zero.
        length: Of the step, in units of pixel value.
        norm: Norm of the length.
        tied: See :func:`store`.
    """
    if norm == "linf":
        return direction.round() * (max(round(length * GREYS), 1) / GREYS)
    channels = direction.shape[1] if tied else 1
    free = direction[:, :1] if tied else direction
    levels = max(length * GREYS / math.sqrt(channels), 1.0)
    largest = norms(free, "linf").clamp_min(1e-6).view(-1, 1, 1, 1)
    # With this factor the largest value alone is too long.
    return _longest(free, (levels + 1) / largest, levels).expand_as(direction) / GREYS


def is_stored(images: Images) -> bool:
    """Whether all values are whole grey levels."""
    levels = images * GREYS
    return bool((levels - levels.round()).abs().max() < _SLACK)


def _longest(wanted: Images, most: Float[Tensor, "b 1 1 1"], length: float) -> Images:
    """``wanted`` times the largest factor up to ``most`` that, rounded, is within ``length``."""
    low, high = torch.zeros_like(most), most
    for factor in (most, *[None] * _BISECTIONS):
        middle = (low + high) / 2 if factor is None else factor
        fits = (norms((wanted * middle).round(), "l2") <= length * (1 + 1e-6)).view(-1, 1, 1, 1)
        low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
    return _filled((wanted * low).round(), (wanted * high).round(), length)


def _filled(levels: Images, beyond: Images, length: float) -> Images:
    """As many values of ``beyond`` in place of those of ``levels`` as the length allows.

    They differ where values are too equal for any one factor to tell them apart.
    """
    cost = (beyond.square() - levels.square()).flatten(1).double()
    left = length**2 * (1 + 1e-6) - levels.flatten(1).double().square().sum(1, keepdim=True)
    affordable = (cost.cumsum(1) <= left).view_as(levels)
    return torch.where(affordable, beyond, levels)
