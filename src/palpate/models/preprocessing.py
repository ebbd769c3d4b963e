"""Differentiable resizing and normalisation of images, as part of the model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from palpate.types import Images

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Averages over the channels, for networks that read grey images.
GREY_MEAN, GREY_STD = (0.449,), (0.226,)
# OpenAI's CLIP was trained with channel statistics of its own.
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocessing:
    """Input size and normalisation of a network.

    Attributes:
        size: Side of the square input, in pixels. With None, an image keeps its size if the
            network accepts it.
        mean: Mean of each channel, for pixel values in [0, 1].
        std: Standard deviation of each channel, by which it is divided.
        fallback: Side of the square input in pixels for images of other sizes, if ``size`` is
            None.
    """

    size: int | None = None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    fallback: int = 352

    def __post_init__(self) -> None:
        for side in (self.size, self.fallback):
            if side is not None and (not isinstance(side, Integral) or side < 1):
                raise ValueError(
                    f"Expected the size of a network's input as a whole number of pixels, got "
                    f"{side!r}."
                )
        numbers = (*self.mean, *self.std)
        if (
            len(self.mean) != len(self.std)
            or not all(map(_is_number, numbers))
            or not all(deviation > 0 for deviation in self.std)
        ):
            raise ValueError(
                f"Expected one mean and one positive std per channel, got {self.mean} and "
                f"{self.std}."
            )


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except TypeError:
        return False


def resized(images: Images, size: tuple[int, int]) -> Float[Tensor, "b c height width"]:
    """Resize images to ``size`` (height, width) with bilinear interpolation and antialiasing."""
    if images.shape[2:] == size:
        return images
    return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)


def enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize logits ``(b, maps, h, w)`` to the image's ``size`` with bilinear interpolation."""
    if logits.shape[2:] == size:
        return logits
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def channels_of(
    values: Mapping[str, Any], folder: Path, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Read the mean and standard deviation of each channel from an image processor's configuration.

    Args:
        values: Content of the processor's JSON file.
        folder: Folder of that file, for error messages.
        mean: Default mean, if the file has none.
        std: Default standard deviation, if the file has none.

    Returns:
        Mean and standard deviation, three numbers each.

    Raises:
        ValueError: If they are not three numbers each.
    """
    found = {"mean": values.get("image_mean") or mean, "std": values.get("image_std") or std}
    for name, given in found.items():
        if not isinstance(given, list | tuple) or len(given) != 3:
            raise ValueError(
                f"Expected the image processor of {folder} to have an image_{name} of three "
                f"numbers, got {given!r}."
            )
    return tuple(found["mean"]), tuple(found["std"])


def of_photographs(size: int | None, channels: int) -> Preprocessing:
    """The preprocessing with ImageNet's mean and standard deviation.

    Args:
        size: Side of the square input in pixels, or None.
        channels: 3 for RGB, 1 for grey images.
    """
    if channels == 1:
        return Preprocessing(size, GREY_MEAN, GREY_STD)
    return Preprocessing(size)


def check_side(side: Any, multiple: int) -> int:
    """Check that an input side is a positive multiple of the patch size, and return it.

    Args:
        side: Side of the network's square input, in pixels.
        multiple: Patch size, in pixels.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(side, int) or side < multiple or side % multiple:
        raise ValueError(f"Expected a size that is a multiple of {multiple} pixels, got {side!r}.")
    return side


def next_multiple(side: int, multiple: int) -> int:
    """Round a side up to a multiple of ``multiple``.

    >>> next_multiple(32, 16), next_multiple(33, 16)
    (32, 48)
    """
    return math.ceil(side / multiple) * multiple
