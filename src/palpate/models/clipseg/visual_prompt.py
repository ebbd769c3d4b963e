"""Visual prompts: an example image with its object highlighted.

CLIPSeg can be prompted with an image in place of a text, since CLIP projects both into the same
space. Its authors compared ways to mark the object in the image; the best was to blur and darken
the background and to crop to the object (Lüddecke & Ecker, 2022, https://arxiv.org/abs/2112.10003).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Float
from scipy.ndimage import binary_fill_holes
from torch import Tensor
from torch.nn import functional as F

from palpate.types import Images, Masks

_KERNEL = 15  # side of the blur kernel, in pixels
_LINE = 5  # width of an outline, in pixels
_RED = (1.0, 0.0, 0.0)


@dataclass(frozen=True)
class Highlight:
    """How an object is marked; intensities are those of normalised pixels, whose 0 is the mean.

    Attributes:
        inside: Factor of the object's pixels.
        background: Factor of the other pixels.
        blur: Standard deviation of the blur of the background, in pixels; 0 for none.
        margin: Background kept by cropping, see :func:`highlighted`; None not to crop.
        lift: Added to the pixels of the object.
        shift: Added to all pixels.
        outline: Whether the object gets a red outline.
    """

    inside: float = 1.0
    background: float = 1.0
    blur: float = 0.0
    margin: float | None = None
    lift: float = 0.0
    shift: float = 0.0
    outline: bool = False


DEFAULT = "crop_blur_highlight"
# The ways that CLIPSeg's authors compared, under their names; ``outline`` has none in their code.
HIGHLIGHTS: Mapping[str, Highlight] = MappingProxyType(
    {
        "image_only": Highlight(),
        "overlay": Highlight(background=0.0),
        "highlight": Highlight(background=0.15),
        "highlight2": Highlight(inside=0.65, background=0.15, lift=0.1),
        "blur_highlight": Highlight(background=0.5, blur=1.0, shift=-0.01),
        "blur3_highlight": Highlight(background=0.5, blur=3.0, shift=-0.01),
        "blur3_highlight01": Highlight(background=0.1, blur=3.0, shift=-0.01),
        "crop": Highlight(blur=1.0, margin=0.1),
        DEFAULT: Highlight(background=0.1, blur=3.0, margin=0.1),
        "shape": Highlight(inside=0.0, background=0.0, lift=1.0),
        "outline": Highlight(outline=True),
    }
)


def marked(
    image: Images,
    mask: Masks,
    how: Highlight,
    mean: Float[Tensor, "1 c 1 1"],
    std: Float[Tensor, "1 c 1 1"],
) -> Float[Tensor, "1 c height width"]:
    """Mark the object of an example, in one of the ways of :data:`HIGHLIGHTS`.

    Args:
        image: One RGB image ``(1, 3, h, w)`` in [0, 1].
        mask: Mask ``(1, 1, h, w)`` of the object.
        how: How it is marked.
        mean: Mean that the model subtracts.
        std: Standard deviation by which the model divides.

    Returns:
        The image to show, not limited to [0, 1]; a square if it is cropped.

    Raises:
        ValueError: If the mask has another size or is empty.
    """
    _check(image, mask)
    mask = mask.to(image.device)
    around = blurred(image, how.blur) if how.blur else image
    faint = mean + how.background * (around - mean)
    changed = how.inside != 1 or how.lift != 0  # else the object keeps its pixels to the last bit
    inside = mean + how.inside * (image - mean) + how.lift * std if changed else image
    picture = torch.where(mask, inside, faint)
    if how.outline:
        red = torch.tensor(_RED).to(picture).view(1, 3, 1, 1)
        picture = torch.where(_outline(mask), red, picture)
    if how.margin is not None:
        picture = _cropped(picture, mask, how.margin, mean)
    return picture + how.shift * std if how.shift else picture


def highlighted(
    image: Images,
    mask: Masks,
    mean: Float[Tensor, "1 c 1 1"],
    *,
    background: float = 0.1,
    blur: float = 3.0,
    margin: float = 0.1,
) -> Float[Tensor, "1 c side side"]:
    """Blur and fade the background of an object, crop to the object, and pad to a square.

    Args:
        image: One RGB image ``(1, 3, h, w)`` in [0, 1].
        mask: Mask ``(1, 1, h, w)`` of the object.
        mean: Colour of the faded background and of the padding. It is the mean that the model
            subtracts, because the published code fades and pads normalised images.
        background: Remaining intensity of the background, from 0 to 1.
        blur: Standard deviation of the Gaussian blur, in pixels.
        margin: Background kept on each side of the object, relative to its height or width.

    Returns:
        The square image, with the longer side of the crop.

    Raises:
        ValueError: If the mask has another size or is empty.
    """
    _check(image, mask)
    mask = mask.to(image.device)
    faint = mean + background * (blurred(image, blur) - mean)
    picture = torch.where(mask, image, faint)
    return _cropped(picture, mask, margin, mean)


def blurred(image: Images, deviation: float) -> Images:
    """Blur each channel with a Gaussian kernel of 15 x 15 pixels and mirrored borders.

    Args:
        image: Images with sides of at least 8 pixels.
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
    # The Gaussian is separable: filter the rows, then the columns.
    across = F.conv2d(padded, weights, groups=image.shape[1])
    return F.conv2d(across, weights.transpose(2, 3), groups=image.shape[1])


def _check(image: Images, mask: Masks) -> None:
    if mask.shape[2:] != image.shape[2:] or len(image) != 1 or len(mask) != 1:
        raise ValueError(
            f"Expected one image and its mask at the same size, got {tuple(image.shape)} and "
            f"{tuple(mask.shape)}."
        )
    if not mask.any():
        raise ValueError("Expected a mask that marks something in the example, got an empty one.")


def _outline(mask: Masks) -> Masks:
    """Pixels near the outer boundary of the object; holes have no outline."""
    whole = torch.from_numpy(binary_fill_holes(mask[0, 0].cpu().numpy())).to(mask.device)
    filled = whole[None, None].float()
    inner = -F.max_pool2d(-filled, 3, stride=1, padding=1)
    return F.max_pool2d(filled - inner, _LINE, stride=1, padding=_LINE // 2) > 0


def _cropped(
    picture: Images, mask: Masks, margin: float, colour: Float[Tensor, "1 c 1 1"]
) -> Float[Tensor, "1 c side side"]:
    rows, columns = _range(mask[0, 0].any(dim=1), margin), _range(mask[0, 0].any(dim=0), margin)
    return _squared(picture[:, :, rows, columns], colour)


def _range(hit: Tensor, margin: float) -> slice:
    """Range from the first to the last True, plus a margin, clipped to the image."""
    places = hit.nonzero().flatten()
    first, last = int(places[0]), int(places[-1]) + 1
    wide = int(margin * (last - first))
    return slice(max(0, first - wide), min(len(hit), last + wide))


def _squared(image: Images, colour: Float[Tensor, "1 c 1 1"]) -> Float[Tensor, "1 c side side"]:
    """Pad the shorter side with one colour on both ends, so that the image is square."""
    height, width = image.shape[2:]
    side = max(height, width)
    square = colour.expand(1, -1, side, side).clone()
    top, left = (side - height) // 2, (side - width) // 2
    square[:, :, top : top + height, left : left + width] = image
    return square
