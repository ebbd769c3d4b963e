"""Preprocessing stages without a useful gradient, and their differentiable approximations.

A stage maps images to images of the same size, and ``stage.smooth`` approximates it with a useful
gradient. :func:`palpate.attacks.bpda` uses the stage forwards and the approximation backwards.
"""

from dataclasses import dataclass
from io import BytesIO
from math import inf, pi
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from palpate.attacks.bpda.jpeg import smooth_jpeg
from palpate.types import Images

_GREYS = 255
# Shape of the soft steps: 0 is a straight line; at 1 the slope in the middle of a step is 0.
_SOFTNESS = 0.75


@runtime_checkable
class Stage(Protocol):
    """A preprocessing stage: applied to images before the model."""

    def __call__(self, images: Images) -> Images: ...

    def smooth(self, images: Images) -> Images: ...


@dataclass(frozen=True)
class BitDepth:
    """Rounds every value to ``2 ** bits`` levels (Xu et al., 2018).

    https://arxiv.org/abs/1704.01155

    Attributes:
        bits: Bits per value, 1 to 8.
    """

    bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise ValueError(f"Expected 1 to 8 bits, got {self.bits}.")

    def __call__(self, images: Images) -> Images:
        return (images * self._top).round() / self._top

    def smooth(self, images: Images) -> Images:
        """Round softly: steepest where rounding jumps, with a positive slope everywhere."""
        levels = images * self._top
        return (levels - _SOFTNESS * torch.sin(2 * pi * levels) / (2 * pi)) / self._top

    @property
    def _top(self) -> int:
        return (1 << self.bits) - 1


@dataclass(frozen=True)
class Median:
    """Median filter over ``size`` by ``size`` pixels, for each channel separately.

    Attributes:
        size: Side of the window in pixels, odd. At the border the image is reflected.
    """

    size: int = 3

    def __post_init__(self) -> None:
        if self.size < 1 or self.size % 2 == 0:
            raise ValueError(f"Expected an odd size >= 1 of a median, got {self.size}.")

    def __call__(self, images: Images) -> Images:
        return self._neighbours(images).median(-1).values

    def smooth(self, images: Images) -> Images:
        """Mean filter over the same window, whose gradient reaches every pixel of it."""
        return self._neighbours(images).mean(-1)

    def _neighbours(self, images: Images) -> Tensor:
        padded = F.pad(images, (self.size // 2,) * 4, mode="reflect")
        return padded.unfold(2, self.size, 1).unfold(3, self.size, 1).flatten(4)


@dataclass(frozen=True)
class Jpeg:
    """Compresses and decompresses every image as JPEG, with Pillow's default settings.

    Attributes:
        quality: JPEG quality, 1 to 95, as defined by Pillow.
    """

    quality: int = 75

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 95:
            raise ValueError(f"Expected a JPEG quality from 1 to 95, got {self.quality}.")

    def __call__(self, images: Images) -> Images:
        """Compress images.

        Raises:
            ValueError: If images do not have three channels.
        """
        if images.shape[1] != 3:
            raise ValueError(f"Expected images with 3 channels for JPEG, got {images.shape[1]}.")
        bytes_ = (images.detach() * _GREYS).round().clamp(0, _GREYS).byte()
        pixels = bytes_.permute(0, 2, 3, 1).cpu().numpy()
        stored = [np.array(self._again(Image.fromarray(each))) for each in pixels]
        return torch.from_numpy(np.stack(stored)).permute(0, 3, 1, 2).to(images) / _GREYS

    def smooth(self, images: Images) -> Images:
        """Compress with soft rounding, see :func:`~palpate.attacks.bpda.jpeg.smooth_jpeg`."""
        return smooth_jpeg(images, self.quality)

    def _again(self, picture: Image.Image) -> Image.Image:
        file = BytesIO()
        picture.save(file, "JPEG", quality=self.quality)
        return Image.open(file).convert("RGB")


@dataclass(frozen=True)
class GaussianNoise:
    """Adds Gaussian noise, drawn anew at every call; a random stage for :func:`eot`.

    Attributes:
        deviation: Standard deviation, in units of pixel value.
    """

    deviation: float

    def __post_init__(self) -> None:
        if not 0 <= self.deviation < inf:
            raise ValueError(
                f"Expected deviation >= 0, in units of pixel value, got {self.deviation:g}."
            )

    def __call__(self, images: Images, generators: list[torch.Generator]) -> Images:
        # Drawn on the CPU, so that a seed gives the same noise on every device.
        draws = [torch.randn(images.shape[1:], generator=each) for each in generators]
        return images + self.deviation * torch.stack(draws).to(images)
