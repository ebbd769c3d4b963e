r"""The proximal operators of the L2 and L-infinity norms in a diagonal metric.

:math:`\mathrm{prox}(v) = \arg\min_\delta \, \lambda \|\delta\| + \tfrac12 \sum_i H_i
(\delta_i - v_i)^2`. Each reduces to an equation with one unknown per image, solved by bisection.
"""

import torch
from torch import Tensor

from palpate.types import Images, Norm, PerImage

_HALVINGS = 30  # halvings of the interval: the error is 1e-9 of its length


def proximal_operator(
    delta: Images, weight: PerImage, metric: Images, norm: Norm, low: Images, high: Images
) -> Images:
    """The proximal operator of ``weight`` times the norm, within ``low <= delta <= high``.

    Args:
        delta: Perturbation ``v`` that the operator is applied to.
        weight: Weight of the norm for each image, positive.
        metric: The diagonal ``H``, positive.
        norm: For L-infinity, the operator clips all values at one height; for L2 it scales them.
        low: Lower bounds, at most 0.
        high: Upper bounds, at least 0. They are exact for L-infinity; for L2 the result is clipped
            to them.

    Returns:
        The shrunk perturbation.
    """
    values, weights, scale = delta.flatten(1), weight[:, None], metric.flatten(1)
    inside = torch.minimum(torch.maximum(values, low.flatten(1)), high.flatten(1))
    if norm == "linf":
        height = _height(values, inside, weights, scale)
        shrunk = torch.minimum(torch.maximum(inside, -height), height)
    else:
        length = _length(values, weights, scale)
        shrunk = values * (scale * length / (scale * length + weights))
        shrunk = torch.minimum(torch.maximum(shrunk, low.flatten(1)), high.flatten(1))
    return shrunk.view_as(delta)


def _height(values: Tensor, inside: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """The height to clip at: the root of ``weight = sum H (|v| - height)``."""
    size, reach = values.abs(), inside.abs()
    low, high = torch.zeros_like(weight), reach.amax(1, keepdim=True)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        cost = (scale * (size - middle) * (reach > middle)).sum(1, keepdim=True)
        is_low = cost > weight
        low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
    return high


def _length(values: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """The L2 norm of the result: the root of ``sum (H v / (H length + weight)) ** 2 = 1``."""
    pull = scale * values
    low, high = torch.zeros_like(weight), torch.linalg.vector_norm(values, dim=1, keepdim=True)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_low = (pull / (scale * middle + weight)).square().sum(1, keepdim=True) > 1
        low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
    return low
