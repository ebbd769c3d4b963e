"""Visual prompts: an example image with its object highlighted.

CLIPSeg accepts an image in place of a text, since CLIP projects both into one space. Of the ways to
mark an object in the image, its authors found this best (Lüddecke & Ecker, 2022,
https://arxiv.org/abs/2112.10003): blur and darken the background, and crop to the object.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from palpate.types import Images, Masks

_KERNEL = 15  # pixels


def highlighted(
    image: Images,
    mask: Masks,
    mean: Float[Tensor, "1 c 1 1"],
    *,
    background: float = 0.1,
    blur: float = 3.0,
    margin: float = 0.1,
) -> Float[Tensor, "1 c side side"]:
    """Highlight the object of a mask on a faint and blurred background, and crop to a square.

    Args:
        image: One image, RGB in [0, 1].
        mask: Mask of the object, at the size of the image.
        mean: Colour that the background fades to and the square is padded with: the mean that the
            model subtracts, since the published code does both on normalised images.
        background: Share of the background that is left, from 0 to 1.
        blur: Standard deviation of the blur, in pixels.
        margin: Background kept on each side, as a share of the object's height or width.

    Raises:
        ValueError: If the mask is of another size, or empty.
    """
    if mask.shape[2:] != image.shape[2:] or len(image) != 1 or len(mask) != 1:
        raise ValueError(
            f"Expected one image and its mask at the same size, got {tuple(image.shape)} and "
            f"{tuple(mask.shape)}."
        )
    if not mask.any():
        raise ValueError("Expected a mask that marks something in the example, got an empty one.")
    mask = mask.to(image.device)
    faint = mean + background * (blurred(image, blur) - mean)
    picture = torch.where(mask, image, faint)
    rows, columns = _range(mask[0, 0].any(dim=1), margin), _range(mask[0, 0].any(dim=0), margin)
    return _squared(picture[:, :, rows, columns], mean)


def blurred(image: Images, deviation: float) -> Images:
    """Blur each channel with a Gaussian kernel of 15 x 15 pixels; edges are mirrored.

    Args:
        image: Images whose sides are larger than 7 pixels.
        deviation: Standard deviation of the Gaussian, in pixels.

    Raises:
        ValueError: If a side is smaller.
    """
    reach = _KERNEL // 2
    if min(image.shape[2:]) <= reach:
        raise ValueError(
            f"Expected an example of more than {reach} pixels' side, got {tuple(image.shape[2:])}."
        )
    offsets = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype)
    weights = torch.exp(-offsets.square() / (2 * deviation**2))
    weights = (weights / weights.sum()).expand(image.shape[1], 1, 1, -1)
    padded = F.pad(image, (reach, reach, reach, reach), mode="reflect")
    across = F.conv2d(padded, weights, groups=image.shape[1])
    return F.conv2d(across, weights.transpose(2, 3), groups=image.shape[1])


def _range(hit: Tensor, margin: float) -> slice:
    """From the first to the last True, with a margin, clipped to the image."""
    places = hit.nonzero().flatten()
    first, last = int(places[0]), int(places[-1]) + 1
    wide = int(margin * (last - first))
    return slice(max(0, first - wide), min(len(hit), last + wide))


def _squared(image: Images, colour: Float[Tensor, "1 c 1 1"]) -> Float[Tensor, "1 c side side"]:
    """Pad the shorter side with one colour to a square."""
    height, width = image.shape[2:]
    side = max(height, width)
    square = colour.expand(1, -1, side, side).clone()
    top, left = (side - height) // 2, (side - width) // 2
    square[:, :, top : top + height, left : left + width] = image
    return square
