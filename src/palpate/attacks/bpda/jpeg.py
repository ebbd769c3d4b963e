"""Differentiable JPEG: colour conversion, subsampling, cosine transform, soft quantisation."""

from functools import lru_cache
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from palpate.types import Images

# Tables K.1 and K.2 of ITU-T T.81 (https://www.w3.org/Graphics/JPEG/itu-t81.pdf).
_LUMINANCE = """
16 11 10 16  24  40  51  61   12 12 14 19  26  58  60  55   14 13 16 24  40  57  69  56
14 17 22 29  51  87  80  62   18 22 37 56  68 109 103  77   24 35 55 64  81 104 113  92
49 64 78 87 103 121 120 101   72 92 95 98 112 100 103  99
"""
_CHROMINANCE = """
17 18 24 47 99 99 99 99   18 21 26 66 99 99 99 99   24 26 56 99 99 99 99 99
47 66 99 99 99 99 99 99   99 99 99 99 99 99 99 99   99 99 99 99 99 99 99 99
99 99 99 99 99 99 99 99   99 99 99 99 99 99 99 99
"""
# RGB to luminance and two chrominance channels, as in the JFIF standard.
_TO_YCC = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]],
    dtype=torch.float64,
)
_BLOCK = 8
_MIDDLE = 128.0


def smooth_jpeg(images: Images, quality: int) -> Images:
    """Compress images with a differentiable approximation of JPEG (Shin and Song, 2017).

    Rounding a coefficient ``x`` to ``r`` is replaced by ``r + (x - r) ** 3``. The chrominance
    channels have half the resolution, as in Pillow. Input and output are not rounded to 8 bits.

    Args:
        images: RGB images ``(b, 3, h, w)`` in [0, 1].
        quality: JPEG quality, 1 to 95, as defined by Pillow.

    Returns:
        Decompressed images of the same shape, in [0, 1].
    """
    height, width = images.shape[2:]
    # Chrominance has half the resolution, so only multiples of 16 pixels give it whole blocks.
    beyond = (0, -width % (2 * _BLOCK), 0, -height % (2 * _BLOCK))
    levels = F.pad(images * 255, beyond, mode="replicate")
    colours = torch.einsum("dc,bchw->bdhw", _TO_YCC.to(images), levels)
    brightness, hues = colours[:, :1] - _MIDDLE, F.avg_pool2d(colours[:, 1:], 2)
    brightness = _quantised(brightness, _table(_LUMINANCE, quality))
    hues = _quantised(hues, _table(_CHROMINANCE, quality))
    hues = F.interpolate(hues, scale_factor=2, mode="bilinear")
    colours = torch.cat([brightness + _MIDDLE, hues], dim=1)
    back = torch.linalg.inv(_TO_YCC).to(images)
    decoded = torch.einsum("cd,bdhw->bchw", back, colours)[..., :height, :width]
    return (decoded / 255).clamp(0.0, 1.0)


def _quantised(pixels: Tensor, table: Float[Tensor, "8 8"]) -> Tensor:
    """Transform each 8 x 8 block by the DCT, round the coefficients softly, transform back."""
    cosines, steps = _cosines().to(pixels), table.to(pixels)
    batch, channels, height, width = pixels.shape
    shape = (batch, channels, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    blocks = pixels.reshape(shape).transpose(3, 4)
    coefficients = cosines @ blocks @ cosines.T / steps
    rounded = coefficients.round().detach()
    soft = rounded + (coefficients - rounded) ** 3
    decoded: Tensor = cosines.T @ (soft * steps) @ cosines
    return decoded.transpose(3, 4).reshape(pixels.shape)


def _table(text: str, quality: int) -> Float[Tensor, "8 8"]:
    """Scale a quantisation table to a quality, by the rule of the Independent JPEG Group."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    base = torch.tensor([int(word) for word in text.split()], dtype=torch.float64)
    return ((base * scale + 50) / 100).floor().clamp(1, 255).view(_BLOCK, _BLOCK)


@lru_cache(maxsize=1)
def _cosines() -> Float[Tensor, "8 8"]:
    """Matrix of the orthonormal DCT-II of eight values, one frequency per row."""
    frequency, place = torch.arange(_BLOCK).double()[:, None], torch.arange(_BLOCK).double()
    cosines = torch.cos(frequency * (place + 0.5) * pi / _BLOCK)
    lengths: Tensor = cosines.norm(dim=1, keepdim=True)
    return cosines / lengths
