"""Training augmentation of images and masks; flips also change position words in the prompt."""

import math
from dataclasses import dataclass, fields
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from palpate.text.positions import mirror_words

Image: TypeAlias = Float[Tensor, "3 h w"]
Mask: TypeAlias = Bool[Tensor, "1 h w"]

_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Augmentation:
    """Strengths of the augmentation; 0 switches an effect off.

    A horizontal flip also exchanges "left" and "right" in the position words of the prompt. It
    cannot turn a left ventricle into a right one, so do not flip images with anatomical sides
    (such as CAMUS).

    Attributes:
        flip_horizontal: Probability of exchanging left and right.
        flip_vertical: Probability of exchanging top and bottom.
        rotate_degrees: Largest rotation in either direction, in degrees.
        scale: Largest relative change of size: the factor is ``(1 + scale) ** m`` with m uniform in
            [-1, 1], so 0.1 means 1 / 1.1 to 1.1, enlarging as often as reducing.
        translate: Largest shift along each axis, as a fraction of the side.
        colour: Largest relative change of brightness, contrast, saturation and gamma.
    """

    flip_horizontal: float = 0.0
    flip_vertical: float = 0.0
    rotate_degrees: float = 0.0
    scale: float = 0.0
    translate: float = 0.0
    colour: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            most = 180.0 if field.name == "rotate_degrees" else 1.0
            if not 0 <= value <= most:
                raise ValueError(f"Expected {field.name} in [0, {most:g}], got {value}.")


def augment(
    image: Image, mask: Mask, prompt: str, augmentation: Augmentation, generator: Generator
) -> tuple[Image, Mask, str]:
    """Augment an image with its mask and prompt at random.

    The number of random draws does not depend on the strengths, so that switching one effect on
    does not change the others.

    Args:
        image: Image (3, h, w) in [0, 1].
        mask: Mask (1, h, w); transformed like the image, with nearest-neighbour sampling.
        prompt: Text whose position words follow the flips, see :func:`mirror_words`.
        augmentation: Strengths of all effects.
        generator: Random generator on the CPU.

    Returns:
        Image, mask and prompt, of the same shapes and ranges.
    """
    chances = torch.rand(2, generator=generator).tolist()
    moves = (2 * torch.rand(4, generator=generator) - 1).tolist()
    changes = (2 * torch.rand(4, generator=generator) - 1).tolist()
    image, mask, prompt = flip(
        image,
        mask,
        prompt,
        horizontal=chances[0] < augmentation.flip_horizontal,
        vertical=chances[1] < augmentation.flip_vertical,
    )
    image, mask = move(
        image,
        mask,
        degrees=augmentation.rotate_degrees * moves[0],
        factor=(1 + augmentation.scale) ** moves[1],
        right=augmentation.translate * moves[2],
        down=augmentation.translate * moves[3],
    )
    factors = [(1 + augmentation.colour) ** change for change in changes]
    return recolour(image, *factors), mask, prompt


def flip(
    image: Image, mask: Mask, prompt: str, *, horizontal: bool, vertical: bool
) -> tuple[Image, Mask, str]:
    """Exchange left and right, or top and bottom, in image, mask and prompt."""
    axes = [axis for axis, wanted in ((-1, horizontal), (-2, vertical)) if wanted]
    if not axes:
        return image, mask, prompt
    words = mirror_words(prompt, horizontal=horizontal, vertical=vertical)
    return image.flip(axes), mask.flip(axes), words


def move(
    image: Image, mask: Mask, *, degrees: float, factor: float, right: float, down: float
) -> tuple[Image, Mask]:
    """Rotate about the centre (anticlockwise), scale, then shift by a fraction of the sides.

    Areas outside the image are filled with the nearest border pixel, in image and mask alike, so
    that a lesion at the border is not cut off.
    """
    if degrees == 0 and factor == 1 and right == 0 and down == 0:
        return image, mask
    grid = _sources(image, degrees, factor, right, down)
    moved = F.grid_sample(image[None], grid, padding_mode="border", align_corners=False)
    outline = F.grid_sample(
        mask[None].to(image), grid, mode="nearest", padding_mode="border", align_corners=False
    )
    return moved[0], outline[0] > 0


def recolour(
    image: Image, brightness: float, contrast: float, saturation: float, gamma: float
) -> Image:
    """Scale brightness, contrast (about the mean luminance) and saturation; then apply ``gamma``.

    All four are factors; 1 changes nothing. Gray images stay gray.
    """
    if brightness == contrast == saturation == gamma == 1:
        return image
    luminance = torch.tensordot(torch.tensor(_LUMINANCE), image, dims=1)
    # One affine map of colours: gray + saturation * (image - gray), then contrast about the mean.
    scale = brightness * contrast
    shift = brightness * (1 - contrast) * luminance.mean()
    coloured: Tensor = image * (scale * saturation) + (
        luminance * (scale * (1 - saturation)) + shift
    )
    coloured = coloured.clamp_(0.0, 1.0)
    return coloured.pow_(gamma)


def _sources(
    image: Image, degrees: float, factor: float, right: float, down: float
) -> Float[Tensor, "1 h w 2"]:
    """Sampling grid: the source of each output pixel, in the coordinates of ``grid_sample``."""
    height, width = image.shape[-2:]
    cosine = math.cos(math.radians(degrees)) / factor
    sine = math.sin(math.radians(degrees)) / factor
    # Rotate in pixel coordinates: in normalised ones, images that are not square would be sheared.
    rows = [[cosine, -sine * height / width], [sine * width / height, cosine]]
    theta = [[a, b, -2 * (a * right + b * down)] for a, b in rows]
    return F.affine_grid(torch.tensor([theta]), [1, 1, height, width], align_corners=False)
