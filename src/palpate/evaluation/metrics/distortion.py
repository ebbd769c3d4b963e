"""Image quality of adversarial images compared with clean ones: PSNR and SSIM.

The L-inf and L2 lengths of a perturbation are :func:`palpate.geometry.norms`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from palpate.types import Images, PerImage

_WINDOW = 11  # side of the Gaussian window in pixels
_SIGMA = 1.5
_LUMINANCE = 0.01**2  # C1 and C2 of the paper for a data range of 1
_CONTRAST = 0.03**2


def psnr(adversarial: Images, images: Images) -> PerImage:
    """Peak signal-to-noise ratio in dB for values in [0, 1]: ``-10 log10`` of the mean square.

    It is ``inf`` for an unchanged image. A mean over images must exclude these and report their
    number;
    :func:`palpate.evaluation.statistics.intervals.mean_interval` refuses them.

    >>> clean = torch.zeros(1, 3, 2, 2)
    >>> psnr(clean, clean), psnr(clean + 0.1, clean)
    (tensor([inf]), tensor([20.]))
    """
    _require_same_shape(adversarial, images)
    errors = (adversarial.float() - images.float()).square().flatten(1).mean(1)
    return -10 * errors.log10()


def ssim(adversarial: Images, images: Images) -> PerImage:
    """Structural similarity (Wang et al., 2004, https://doi.org/10.1109/TIP.2003.819861).

    Gaussian window of 11 x 11 pixels with sigma 1.5, constants 0.01 and 0.03, data range 1, as
    in the paper. Only windows fully inside the image are used, and channels are averaged. An
    image with a side below 11 pixels gets the largest odd window that fits, so its value is not
    comparable with those of larger images.

    MONAI's implementation is not used, because it is off by more than 1e-5 in single precision on
    an image of one window and refuses smaller images; torchmetrics' is not used, because it
    includes windows that cross the border.

    Returns:
        One value per image in [-1, 1]; 1 for identical images.

    >>> clean = torch.rand(1, 3, 16, 16)
    >>> ssim(clean, clean)
    tensor([1.])
    """
    _require_same_shape(adversarial, images)
    # One image at a time is faster on a CPU, whose caches do not hold the data of a batch.
    pairs = zip(adversarial.float(), images.float(), strict=True)
    return torch.stack([_similarity(a[None], b[None]) for a, b in pairs])


def _similarity(a: Float[Tensor, "1 c h w"], b: Float[Tensor, "1 c h w"]) -> Float[Tensor, ""]:
    moments = _blur(torch.cat([a, b, a * a, b * b, a * b], dim=1))
    mean_a, mean_b, square_a, square_b, product = moments.chunk(5, dim=1)
    means = mean_a * mean_b
    squares = mean_a.square() + mean_b.square()
    luminance = (2 * means + _LUMINANCE) / (squares + _LUMINANCE)
    structure = (2 * (product - means) + _CONTRAST) / (square_a + square_b - squares + _CONTRAST)
    return (luminance * structure).mean()


def _blur(x: Float[Tensor, "1 n h w"]) -> Float[Tensor, "1 n u v"]:
    """Gaussian mean of each whole window, one axis after the other."""
    n = x.shape[1]
    weights = _window(min(x.shape[2:]), x)
    x = F.conv2d(x, weights.view(1, 1, -1, 1).expand(n, 1, -1, 1), groups=n)
    return F.conv2d(x, weights.view(1, 1, 1, -1).expand(n, 1, 1, -1), groups=n)


def _window(longest: int, like: Tensor) -> Float[Tensor, " k"]:
    size = min(_WINDOW, longest - 1 + longest % 2)
    offsets = torch.arange(size, device=like.device, dtype=like.dtype) - (size - 1) / 2
    weights = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    return weights / weights.sum()


def _require_same_shape(adversarial: Tensor, images: Tensor) -> None:
    if adversarial.shape != images.shape:
        shapes = f"{tuple(adversarial.shape)} and {tuple(images.shape)}"
        raise ValueError(f"Expected adversarial and clean images of one shape, got {shapes}.")
