"""Stages before a model that gradients cannot pass, and smooth stand-ins for them.

A stage maps images to images of the same size. ``stage.smooth`` does nearly the same with a
useful gradient; :func:`palpate.attacks.bpda` puts the two together.
"""

from dataclasses import dataclass
from io import BytesIO
from math import pi
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from palpate.attacks.bpda.jpeg import smooth_jpeg
from palpate.types import Images

_GREYS = 255
_SOFTNESS = 0.75  # how far a soft step goes from a slope (0) to a step (1, flat in between)


@runtime_checkable
class Stage(Protocol):
    """What happens to images before a model sees them."""

    def __call__(self, images: Images) -> Images: ...

    def smooth(self, images: Images) -> Images: ...


@dataclass(frozen=True)
class BitDepth:
    """Rounds every value to ``2 ** bits`` levels (Xu et al., 2018).

    https://arxiv.org/abs/1704.01155
    """

    bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise ValueError(f"Expected 1 to 8 bits, got {self.bits}.")

    def __call__(self, images: Images) -> Images:
        return (images * self._top).round() / self._top

    def smooth(self, images: Images) -> Images:
        """Soft steps, steepest where rounding jumps and flat nowhere."""
        levels = images * self._top
        return (levels - _SOFTNESS * torch.sin(2 * pi * levels) / (2 * pi)) / self._top

    @property
    def _top(self) -> int:
        return (1 << self.bits) - 1


@dataclass(frozen=True)
class Median:
    """The median of every ``size`` by ``size`` neighbourhood, each channel by itself.

    Attributes:
        size: Odd, in pixels; beyond the border the image is mirrored.
    """

    size: int = 3

    def __post_init__(self) -> None:
        if self.size < 1 or self.size % 2 == 0:
            raise ValueError(f"Expected an odd size >= 1 of a median, got {self.size}.")

    def __call__(self, images: Images) -> Images:
        return self._neighbours(images).median(-1).values

    def smooth(self, images: Images) -> Images:
        """The mean of the same neighbourhood, which spreads a gradient over all of it."""
        return self._neighbours(images).mean(-1)

    def _neighbours(self, images: Images) -> Tensor:
        padded = F.pad(images, (self.size // 2,) * 4, mode="reflect")
        return padded.unfold(2, self.size, 1).unfold(3, self.size, 1).flatten(4)


@dataclass(frozen=True)
class Jpeg:
    """Stores every image as JPEG, as Pillow does by default, and reads it again.

    Attributes:
        quality: 1 to 95, as Pillow counts.
    """

    quality: int = 75

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 95:
            raise ValueError(f"Expected a JPEG quality from 1 to 95, got {self.quality}.")

    def __call__(self, images: Images) -> Images:
        """Raises ``ValueError`` unless images have three channels."""
        if images.shape[1] != 3:
            raise ValueError(f"Expected images with 3 channels for JPEG, got {images.shape[1]}.")
        bytes_ = (images.detach() * _GREYS).round().clamp(0, _GREYS).byte()
        pixels = bytes_.permute(0, 2, 3, 1).cpu().numpy()
        stored = [np.array(self._again(Image.fromarray(each))) for each in pixels]
        return torch.from_numpy(np.stack(stored)).permute(0, 3, 1, 2).to(images) / _GREYS

    def smooth(self, images: Images) -> Images:
        """The same transform with soft rounding.

        See :func:`~palpate.attacks.bpda.jpeg.smooth_jpeg`.
        """
        return smooth_jpeg(images, self.quality)

    def _again(self, picture: Image.Image) -> Image.Image:
        file = BytesIO()
        picture.save(file, "JPEG", quality=self.quality)
        return Image.open(file).convert("RGB")


@dataclass(frozen=True)
class GaussianNoise:
    """Adds normal noise, anew whenever it is asked: a random stage, for :func:`eot`.

    Attributes:
        deviation: In units of pixel value.
    """

    deviation: float

    def __call__(self, images: Images, generators: list[torch.Generator]) -> Images:
        draws = [torch.randn(images.shape[1:], generator=each) for each in generators]
        return images + self.deviation * torch.stack(draws).to(images)
