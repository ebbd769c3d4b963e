"""Training augmentation: the same lesion seen otherwise, and a text that still says where it is."""

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
    """How strongly to augment; all zero means not at all.

    Mirroring changes "left" into "right" where a text says where the lesion is, but cannot make a
    right ventricle out of a left one: leave it off where sides are anatomical, as in CAMUS.

    Attributes:
        flip_horizontal: Probability of exchanging left and right.
        flip_vertical: Probability of exchanging top and bottom.
        rotate_degrees: Largest angle, either way.
        scale: Largest relative change of size, either way; 0.1 means 1 / 1.1 to 1.1.
        translate: Largest shift along each axis, as a part of the side.
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
    """One random variant of an image with its mask and text.

    As many numbers are drawn whatever the strengths, so that switching one effect on leaves the
    others as they were.

    Args:
        image: Pixel values in [0, 1].
        mask: Moves with the image; stays binary.
        prompt: Its words for places follow the mirroring, see :func:`mirror_words`.
        augmentation: The strengths.
        generator: On the CPU.
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
    """Exchange left and right, or top and bottom, in the picture and in what is said of it."""
    axes = [axis for axis, wanted in ((-1, horizontal), (-2, vertical)) if wanted]
    if not axes:
        return image, mask, prompt
    words = mirror_words(prompt, horizontal=horizontal, vertical=vertical)
    return image.flip(axes), mask.flip(axes), words


def move(
    image: Image, mask: Mask, *, degrees: float, factor: float, right: float, down: float
) -> tuple[Image, Mask]:
    """Rotate about the centre (anticlockwise), scale, then shift by a part of the sides.

    What comes into view repeats the nearest border pixel, in image and mask alike, so that a lesion
    at the border does not lose its outline.
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
    """Scale brightness, contrast about the mean and distance from gray; then apply ``gamma``.

    All four are factors, 1 changes nothing. Gray images stay gray.
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
    """Where each pixel of the result comes from, in the coordinates of ``grid_sample``."""
    height, width = image.shape[-2:]
    cosine = math.cos(math.radians(degrees)) / factor
    sine = math.sin(math.radians(degrees)) / factor
    # Turned in pixels, not in the unit square, so that a long image is not sheared.
    rows = [[cosine, -sine * height / width], [sine * width / height, cosine]]
    theta = [[a, b, -2 * (a * right + b * down)] for a, b in rows]
    return F.affine_grid(torch.tensor([theta]), [1, 1, height, width], align_corners=False)
