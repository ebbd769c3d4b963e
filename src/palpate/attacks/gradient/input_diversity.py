"""The same image seen differently: what makes an attack carry over to models it never saw."""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional as F

from palpate.types import Images, Logits, LogitsFn

Places: TypeAlias = Float[Tensor, "b 3"]  # size, left and top, as shares of the frame


def draw_places(generators: Sequence[Generator], probability: float, smallest: float) -> Places:
    """Where each image is put; the size is 1 for those that stay as they are.

    Args:
        generators: One per image; each gives four numbers, whatever comes of them.
        probability: Of an image being put elsewhere.
        smallest: Least size, as a share of the frame.
    """
    chance, size, left, top = torch.stack([torch.rand(4, generator=g) for g in generators]).T
    sizes = torch.where(chance < probability, smallest + (1 - smallest) * size, 1.0)
    return torch.stack([sizes, left * (1 - sizes), top * (1 - sizes)], dim=1)


def shrunk(images: Images, places: Places) -> Images:
    """Images made smaller and put somewhere on black, in a frame of the old size."""
    size, left, top = places.to(images).T
    # In coordinates from -1 to 1, a point u of the frame shows the point (u - middle) / size.
    middle = (2 * left + size - 1, 2 * top + size - 1)
    return _where(places, _warped(images, 1 / size, *(-m / size for m in middle)), images)


def unshrunk(logits: Logits, places: Places) -> Logits:
    """Logits of :func:`shrunk` images, back in the places of the images."""
    size, left, top = places.to(logits).T
    middle = (2 * left + size - 1, 2 * top + size - 1)
    return _where(places, _warped(logits, size, *middle), logits)


def seen_elsewhere(model: LogitsFn, places: Places) -> LogitsFn:
    """A model that looks at :func:`shrunk` images and answers for the whole ones."""

    def look(images: Images) -> Logits:
        return unshrunk(model(shrunk(images, places)), places)

    return look


def blurred(gradient: Images, size: int) -> Images:
    """Each channel convolved with a Gaussian of ``size`` by ``size`` pixels, 3 deviations wide.

    Zeros lie beyond the border. A size of 1 changes nothing.
    """
    if size == 1:
        return gradient
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
    # Not even rounded where an image stays.
    return torch.where((places[:, 0] < 1).to(same.device).view(-1, 1, 1, 1), moved, same)
