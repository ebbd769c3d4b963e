"""Input diversity and translation invariance for transfer: shrunk inputs, blurred gradients."""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional as F

from palpate.types import Images, Logits, LogitsFn

Places: TypeAlias = Float[Tensor, "b 3"]  # size, left and top, as fractions of the image


def draw_places(generators: Sequence[Generator], probability: float, smallest: float) -> Places:
    """Draw size and position of each shrunk image; size 1 means that the image is not shrunk.

    Args:
        generators: One per image. Four numbers are drawn from each, whether or not the image is
            shrunk, so that later draws do not depend on it.
        probability: Probability that an image is shrunk.
        smallest: Smallest size, as a fraction of the original.
    """
    chance, size, left, top = torch.stack([torch.rand(4, generator=g) for g in generators]).T
    sizes = torch.where(chance < probability, smallest + (1 - smallest) * size, 1.0)
    return torch.stack([sizes, left * (1 - sizes), top * (1 - sizes)], dim=1)


def shrunk(images: Images, places: Places) -> Images:
    """Images shrunk and placed on a black image of the original size."""
    size, left, top = places.to(images).T
    # In coordinates from -1 to 1, the point u of the result shows the point (u - middle) / size.
    middle = (2 * left + size - 1, 2 * top + size - 1)
    return _where(places, _warped(images, 1 / size, *(-m / size for m in middle)), images)


def unshrunk(logits: Logits, places: Places) -> Logits:
    """Logits of :func:`shrunk` images, mapped back to the original size and position."""
    size, left, top = places.to(logits).T
    middle = (2 * left + size - 1, 2 * top + size - 1)
    return _where(places, _warped(logits, size, *middle), logits)


def with_shrunk_input(model: LogitsFn, places: Places) -> LogitsFn:
    """The model applied to :func:`shrunk` images, with logits for the original ones."""

    def shrunk_model(images: Images) -> Logits:
        return unshrunk(model(shrunk(images, places)), places)

    return shrunk_model


def blurred(gradient: Images, size: int) -> Images:
    """Each channel convolved with a Gaussian kernel, padded with zeros.

    Args:
        gradient: Gradient to blur.
        size: Side of the kernel in pixels, odd. The kernel reaches 3 standard deviations to each
            side. A size of 1 changes nothing.
    """
    if size == 1:
        return gradient
    # A Gaussian is separable, so two one-dimensional convolutions replace one in two dimensions.
    line = torch.exp(-torch.linspace(-3, 3, size, dtype=torch.float64).square() / 2)
    line = (line / line.sum()).to(gradient)
    channels = gradient.shape[1]
    down = line.view(1, 1, -1, 1).expand(channels, -1, -1, -1)
    smooth = F.conv2d(gradient, down, padding=(size // 2, 0), groups=channels)
    across = line.view(1, 1, 1, -1).expand(channels, -1, -1, -1)
    return F.conv2d(smooth, across, padding=(0, size // 2), groups=channels)


def _warped(pixels: Tensor, scale: Tensor, across: Tensor, down: Tensor) -> Tensor:
    zero = torch.zeros_like(scale)
    rows = [torch.stack([scale, zero, across], 1), torch.stack([zero, scale, down], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _where(places: Places, moved: Tensor, same: Tensor) -> Tensor:
    # Interpolation at size 1 would still cause rounding errors, so these images are not resampled.
    return torch.where((places[:, 0] < 1).to(same.device).view(-1, 1, 1, 1), moved, same)
