"""Decoding of image and mask files to tensors: rules for bit depths, colours and thresholds.

Images. Grayscale becomes three equal channels; 16-bit grayscale is divided by 65535, whatever part
of that range the data use; 16 bits per colour channel are read as 8; palettes and CMYK become RGB;
transparency is composited over black; of several frames only the first is used.

Masks. Colour becomes luminance. A pixel is foreground if its value is at least half the range of
the file type (128 of 255, 32768 of 65535), which removes JPEG ringing; a lossless file that
contains only 0 and 1 is used as it is. A mask with values above 0 but below half range raises an
error, since it would be read as empty; in a lossy file, values below an eighth of the range count
as noise. A mask whose size differs from its image is resized to the image.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from palpate.data.reading.files import file_name, naming, opened
from palpate.data.reading.orientation import check_shapes, orientations, turned

LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP")  # Pillow's names of lossy formats


def read_pair(
    image: Path, mask: Path, size: int | None = None
) -> tuple[Float[Tensor, "3 h w"], Bool[Tensor, "1 h w"]]:
    """Read an image and its mask, upright and of the same size.

    Args:
        image: File of the image.
        mask: File of the mask.
        size: Side of the square that both are resized to, in pixels; by default the image's own
            size. Images are resized bilinearly with antialiasing, masks by nearest neighbour.

    Returns:
        The image, (3, h, w) in [0, 1], and the mask, (1, h, w).

    Raises:
        ValueError: If a file cannot be read or the mask does not fit the image.
    """
    with opened(image) as picture, opened(mask) as drawing:
        return pair_from(picture, drawing, size)


def pair_from(
    picture: Image.Image, drawing: Image.Image, size: int | None = None
) -> tuple[Float[Tensor, "3 h w"], Bool[Tensor, "1 h w"]]:
    """Decode an open image and its mask; otherwise like :func:`read_pair`.

    Args:
        picture: The image.
        drawing: The mask.
        size: Side of the square that both are resized to, in pixels; by default the image's own
            size.

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
        outline = Image.fromarray(foreground(drawing).astype(np.uint8))
    height, width = pixels.shape[-2:]
    outline = turned(outline, turns[1]).resize((width, height), Image.Resampling.NEAREST)
    return pixels, torch.from_numpy(np.asarray(outline) > 0).unsqueeze(0)


def read_soft_mask(image: Path, mask: Path, size: int | None = None) -> Float[Tensor, "1 h w"]:
    """Read a mask without thresholding, (1, h, w) in [0, 1]; sized and turned as by `read_pair`.

    For the comparison with published pipelines that do not threshold masks, so that JPEG ringing
    enters their losses and scores.

    Args:
        image: File of the image.
        mask: File of the mask.
        size: Side of the square in pixels; by default the size of the image.

    Raises:
        ValueError: If a file cannot be read or the mask does not fit the image.
    """
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
    if _is_deep(picture) or picture.mode == "F":
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
        if _is_deep(picture) or picture.mode == "F"
        else _on_black(picture)
    )
    return turned(simple, orientation)


def foreground(drawing: Image.Image) -> NDArray[np.bool_]:
    """Threshold a mask as stored, without applying its EXIF orientation.

    Returns:
        The foreground, (h, w).

    Raises:
        ValueError: If the mask would be read as empty although it has values above 0.
    """
    values, top = _gray(drawing)
    threshold, brightest = (top + 1) // 2, int(values.max())
    if brightest == 0 and drawing.has_transparency_data:
        _refuse_shape_in_alpha(drawing)
    is_lossy = drawing.format in LOSSY
    if brightest == 1 and not is_lossy:
        threshold = 1
    elif (threshold // 4 if is_lossy else 0) < brightest < threshold:
        raise ValueError(
            f"expected a mask with foreground at {top} (or 0 and 1 only), got values up to "
            f"{brightest}. If it is a label map, write one binary mask per structure"
        )
    result: NDArray[np.bool_] = values >= threshold
    return result


def _refuse_shape_in_alpha(drawing: Image.Image) -> None:
    """Raise an error for black on transparent, which would be empty after compositing."""
    opacity = np.asarray(drawing.convert("RGBA"))[..., 3]
    if opacity.min() != opacity.max():
        raise ValueError(
            "expected a mask in white on black, got black whose shape is in the transparency "
            "alone. Export it without transparency"
        )


def brightest_of_range(picture: Image.Image) -> float:
    """Largest value of a 16-bit grey image as a fraction of 65535; 1 for other images."""
    return float(_deep(picture).max()) / 65535 if _is_deep(picture) else 1.0


def _gray(picture: Image.Image) -> tuple[NDArray[np.integer], int]:
    """Luminance of a mask, (h, w), and the largest value of its file type."""
    if _is_deep(picture):
        return _deep(picture), 65535
    return np.asarray(_on_black(picture).convert("L")), 255


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


def _is_deep(picture: Image.Image) -> bool:
    """Whether an image has integers of more than 8 bits."""
    return picture.mode == "I" or picture.mode.startswith("I;16")


def _deep(picture: Image.Image) -> NDArray[np.int64]:
    # Pillow may open 16-bit files in a 32-bit mode, so the values are checked and not the mode.
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f"expected integers of at most 16 bits, got {values.min()} to {values.max()}; "
            "rescale to 16 bits"
        )
    return values


def _unit(picture: Image.Image) -> NDArray[np.float32]:
    """Pixels of a deep or floating-point image in [0, 1], (h, w)."""
    if picture.mode != "F":
        return (_deep(picture) / 65535).astype(np.float32)
    values = np.asarray(picture, dtype=np.float32)
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"expected floating-point pixels in [0, 1], got {values.min()} to {values.max()}; "
            "rescale them"
        )
    return values


def _on_black(picture: Image.Image) -> Image.Image:
    """The image as RGB, with transparency composited over black."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    rgba = picture.convert("RGBA")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba).convert("RGB")
