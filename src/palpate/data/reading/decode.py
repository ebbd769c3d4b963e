"""Decoding of image and mask files to tensors: rules for bit depths, colours and masks.

Images. Grayscale becomes three equal channels; 16-bit grayscale is divided by 65535, whatever part
of that range the data use; 16 bits per colour channel are read as 8; palettes and CMYK become RGB;
transparency is composited over black; of several frames only the first is used.

Masks. See :mod:`palpate.data.reading.masks`, which refuses those that are not binary. A mask whose
size differs from its image is resized to the image.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from palpate.data.reading.files import file_name, naming, opened
from palpate.data.reading.mask_values import BINARY, MaskRule
from palpate.data.reading.masks import read_mask
from palpate.data.reading.orientation import (
    check_shapes,
    orientation,
    orientations,
    turned,
    upright_size,
)
from palpate.data.reading.stored_mask import LOSSY, deep, is_deep, on_black


def read_pair(
    image: Path, mask: Path, size: int | None = None, rule: MaskRule = BINARY
) -> tuple[Float[Tensor, "3 h w"], Bool[Tensor, "1 h w"]]:
    """Read an image and its mask, upright and of the same size.

    Args:
        image: File of the image.
        mask: File of the mask.
        size: Side of the square that both are resized to, in pixels; by default the image's own
            size. Images are resized bilinearly with antialiasing, masks by nearest neighbour.
        rule: How the values of the mask are read.

    Returns:
        The image, (3, h, w) in [0, 1], and the mask, (1, h, w).

    Raises:
        ValueError: If a file cannot be read or the mask does not fit the image.
    """
    with opened(image) as picture, opened(mask) as drawing:
        return pair_from(picture, drawing, size, rule)


def read_image(image: Path, size: int | None = None) -> Float[Tensor, "3 h w"]:
    """Read an image without a mask, upright, (3, h, w) in [0, 1]; otherwise as :func:`read_pair`.

    Args:
        image: File of the image.
        size: Side of the square that it is resized to, in pixels; by default its own size.

    Raises:
        ValueError: If the file cannot be read.
    """
    with opened(image) as picture:
        turn = orientation(picture)
        with naming(image):
            return _rgb(picture, turn, size)


def pair_from(
    picture: Image.Image,
    drawing: Image.Image,
    size: int | None = None,
    rule: MaskRule = BINARY,
) -> tuple[Float[Tensor, "3 h w"], Bool[Tensor, "1 h w"]]:
    """Decode an open image and its mask; otherwise like :func:`read_pair`.

    Args:
        picture: The image.
        drawing: The mask.
        size: Side of the square that both are resized to, in pixels; by default the image's own
            size.
        rule: How the values of the mask are read.

    Returns:
        The image, (3, h, w) in [0, 1], and the mask, (1, h, w).

    Raises:
        ValueError: If one cannot be decoded or the mask does not fit the image.
    """
    turns = orientations(picture, drawing)
    check_shapes(picture, drawing, turns)
    with naming(file_name(picture)):
        pixels = _rgb(picture, turns[0], size)
    with naming(file_name(drawing)):
        outline = read_mask(drawing, rule).foreground
    return pixels, _upright(outline, turns[1], pixels.shape[-1], pixels.shape[-2])


def read_ignored(
    image: Path, mask: Path, size: int | None = None, rule: MaskRule = BINARY
) -> Bool[Tensor, "1 h w"] | None:
    """Read the pixels that a rule ignores, (1, h, w), sized and turned like the mask.

    Args:
        image: File of the image.
        mask: File of the mask.
        size: Side of the square in pixels; by default the size of the image.
        rule: How the values of the mask are read.

    Returns:
        The ignored pixels; None if the rule ignores nothing.

    Raises:
        ValueError: If a file cannot be read.
    """
    if not rule.ignore:
        return None
    with opened(image) as picture, opened(mask) as drawing:
        return ignored_from(picture, drawing, size, rule)


def ignored_from(
    picture: Image.Image, drawing: Image.Image, size: int | None, rule: MaskRule
) -> Bool[Tensor, "1 h w"] | None:
    """Ignored pixels of an open mask; otherwise like :func:`read_ignored`."""
    turns = orientations(picture, drawing)
    with naming(file_name(drawing)):
        ignored = read_mask(drawing, rule).ignored
    if ignored is None:
        return None
    width, height = upright_size(picture.size, turns[0]) if size is None else (size, size)
    return _upright(ignored, turns[1], width, height)


def _upright(
    pixels: Bool[np.ndarray, "rows columns"], turn: int, width: int, height: int
) -> Bool[Tensor, "1 h w"]:
    """Turn pixels of a mask and resize them to its image."""
    stored = Image.fromarray(pixels.astype(np.uint8))
    resized = turned(stored, turn).resize((width, height), Image.Resampling.NEAREST)
    return torch.from_numpy(np.asarray(resized) > 0).unsqueeze(0)


def read_soft_mask(
    image: Path, mask: Path, size: int | None = None, rule: MaskRule = BINARY
) -> Float[Tensor, "1 h w"]:
    """Read a mask without thresholding, (1, h, w) in [0, 1]; sized and turned as by `read_pair`.

    For the comparison with published pipelines that do not threshold masks, so that JPEG ringing
    enters their losses and scores.

    Args:
        image: File of the image.
        mask: File of the mask.
        size: Side of the square in pixels; by default the size of the image.
        rule: How the values of the mask are read; with values or ignored ones, the mask has only
            0 and 1.

    Raises:
        ValueError: If a file cannot be read or the mask does not fit the image.
    """
    if rule != BINARY:
        return read_pair(image, mask, size, rule)[1].float()
    with opened(image) as picture, opened(mask) as drawing:
        turns = orientations(picture, drawing)
        check_shapes(picture, drawing, turns)
        with naming(mask):
            values, top = _gray(drawing)
            is_lossy = drawing.format in LOSSY
        width, height = turned(picture, turns[0]).size if size is None else (size, size)
    full = top if is_lossy or values.max() > 1 else 1  # in a lossy file, values of 1 are noise
    grey = Image.fromarray((values / full).astype(np.float32))
    grey = turned(grey, turns[1]).resize((width, height), Image.Resampling.NEAREST)
    return torch.from_numpy(np.asarray(grey).copy()).unsqueeze(0)


def try_decoding(picture: Image.Image) -> None:
    """Decode an image completely, as fast as its format allows, to find damage.

    Raises:
        OSError: If the file is damaged.
        ValueError: If pixel values are out of range.
    """
    picture.draft(None, (1, 1))  # a JPEG decodes to an eighth of its size
    picture.load()
    if is_deep(picture) or picture.mode == "F":
        _unit(picture)


def plain(picture: Image.Image, orientation: int = 1) -> Image.Image:
    """Convert an image to RGB, or to one channel of floats in [0, 1] if it has more than 8 bits.

    Args:
        picture: The image as stored.
        orientation: EXIF orientation to apply, 1 to 8.

    Raises:
        ValueError: If pixel values are out of range.
    """
    simple = (
        Image.fromarray(_unit(picture))
        if is_deep(picture) or picture.mode == "F"
        else on_black(picture)
    )
    return turned(simple, orientation)


def foreground(drawing: Image.Image, rule: MaskRule = BINARY) -> NDArray[np.bool_]:
    """Foreground of a mask as stored, (h, w), by :func:`palpate.data.reading.masks.read_mask`."""
    return read_mask(drawing, rule).foreground


def brightest_of_range(picture: Image.Image) -> float:
    """Largest value of a 16-bit grey image as a fraction of 65535; 1 for other images."""
    return float(deep(picture).max()) / 65535 if is_deep(picture) else 1.0


def _gray(picture: Image.Image) -> tuple[NDArray[np.integer], int]:
    """Luminance of a mask, (h, w), and the largest value of its file type."""
    if is_deep(picture):
        return deep(picture), 65535
    return np.asarray(on_black(picture).convert("L")), 255


def _rgb(picture: Image.Image, orientation: int, size: int | None) -> Float[Tensor, "3 h w"]:
    upright = plain(picture, orientation)
    if size is not None:
        upright = upright.resize((size, size), Image.Resampling.BILINEAR)
    if upright.mode == "F":
        values = torch.from_numpy(np.array(upright, dtype=np.float32))
        return values.clamp(0.0, 1.0).expand(3, -1, -1).contiguous()
    # NumPy, because torch would start its own threads in every prefetching thread.
    channels = np.ascontiguousarray(np.moveaxis(np.asarray(upright), -1, 0)).astype(np.float32)
    channels /= np.float32(255)
    return torch.from_numpy(channels)


def _unit(picture: Image.Image) -> NDArray[np.float32]:
    """Pixels of a deep or floating-point image in [0, 1], (h, w)."""
    if picture.mode != "F":
        return (deep(picture) / 65535).astype(np.float32)
    values = np.asarray(picture, dtype=np.float32)
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"expected floating-point pixels in [0, 1], got {values.min()} to {values.max()}; "
            "rescale them"
        )
    return values
