"""The pixels of a mask file, decoded from any format and mode to values that can be compared."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from PIL import Image

from palpate.data.reading.mask_values import Colour, Value
from palpate.data.reading.plateaus import Raster

LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP")  # Pillow's names of lossy formats
COLOURED = 48  # difference of channels; JPEG errors are smaller

_COLOURED_SHARE = 0.001
_GREY = ("1", "L")


@dataclass(frozen=True)
class StoredMask:
    """Pixels of a mask file.

    Attributes:
        raster: Values of the pixels, with a brightness of 0 to 255.
        values: Each value as users write it.
        brightness: Brightness of each pixel in the unit of ``top``, (h, w).
        top: Largest brightness of the file type.
        colours: Colour of each value; None for grey.
        is_lossy: Whether the format changes values.
        has_shape_in_alpha: Whether the mask is black and its transparency varies.
        scale: What floats in [0, 1] were multiplied by for ``brightness``; 1 for whole numbers.
    """

    raster: Raster
    values: tuple[Value, ...]
    brightness: Int[np.ndarray, "h w"]
    top: int
    colours: tuple[Colour, ...] | None
    is_lossy: bool
    has_shape_in_alpha: bool = False
    scale: int = 1


def decoded(drawing: Image.Image) -> StoredMask:
    drawing.load()
    is_lossy = drawing.format in LOSSY
    if drawing.mode == "F":
        return _floats(drawing)
    if is_deep(drawing):
        return _grey(deep(drawing), 65535, is_lossy)
    if drawing.mode in _GREY and not drawing.has_transparency_data:
        return _grey(np.asarray(drawing.convert("L")).astype(np.int64), 255, is_lossy)
    shown_on_black = on_black(drawing)
    rgb = np.asarray(shown_on_black)
    brightness = np.asarray(shown_on_black.convert("L")).astype(np.int64)
    if drawing.mode == "P":
        return _palette(np.asarray(drawing), rgb, brightness)
    # Channel by channel, which takes a tenth of the time of a maximum along an axis of three.
    red, green, blue = (rgb[..., channel] for channel in range(3))
    brightest = np.maximum(np.maximum(red, green), blue)
    spread = brightest - np.minimum(np.minimum(red, green), blue)
    if (spread > COLOURED).mean() > _COLOURED_SHARE or (not is_lossy and spread.any()):
        return _coloured(rgb, brightness, is_lossy)
    is_black = brightness.max() == 0 and drawing.has_transparency_data
    return _grey(brightness, 255, is_lossy, bool(is_black and _alpha_varies(drawing)))


def _grey(values: NDArray[np.int64], top: int, is_lossy: bool, hidden: bool = False) -> StoredMask:
    if top == 255:
        used, numbers = np.arange(256), values
    else:
        used, numbers = np.unique(values, return_inverse=True)
    raster = Raster(numbers.reshape(values.shape), used * (255 / top))
    return StoredMask(raster, tuple(used.tolist()), values, top, None, is_lossy, hidden)


def _floats(drawing: Image.Image) -> StoredMask:
    """Floats that are whole numbers are values; others must be in [0, 1]."""
    pixels = np.asarray(drawing, dtype=np.float64)
    if not (np.isfinite(pixels).all() and pixels.min() >= 0):
        raise ValueError(
            f"expected a mask of finite numbers from 0 on, got {pixels.min():g} to "
            f"{pixels.max():g}. Rescale it to 0 to 1"
        )
    if pixels.max() > 1 and (pixels == np.rint(pixels)).all() and pixels.max() <= 65535:
        return _grey(pixels.astype(np.int64), 255 if pixels.max() <= 255 else 65535, False)
    if pixels.max() > 1:
        raise ValueError(
            f"expected a mask of whole numbers or of floats from 0 to 1, got {pixels.min():g} to "
            f"{pixels.max():g}. Rescale it to 0 to 1"
        )
    if (pixels == np.rint(pixels)).all():
        return _grey(pixels.astype(np.int64), 255, False)
    steps = np.rint(pixels * 65535).astype(np.int64)
    _, first = np.unique(steps, return_index=True)
    values = tuple(int(v) if v in (0, 1) else v for v in pixels.ravel()[first].tolist())
    raster = _grey(steps, 65535, False).raster
    return StoredMask(raster, values, steps, 65535, None, False, scale=65535)


def _palette(
    indices: NDArray[np.uint8], rgb: NDArray[np.uint8], brightness: NDArray[np.int64]
) -> StoredMask:
    used, first, numbers = np.unique(indices, return_index=True, return_inverse=True)
    colours = tuple(tuple(c) for c in rgb.reshape(-1, 3)[first].tolist())
    levels = brightness.ravel()[first].astype(np.float64)
    raster = Raster(numbers.reshape(indices.shape), levels)
    return StoredMask(raster, tuple(used.tolist()), brightness, 255, colours, False)


def _coloured(rgb: NDArray[np.uint8], brightness: NDArray[np.int64], is_lossy: bool) -> StoredMask:
    packed = rgb.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    _, first, numbers = np.unique(packed, return_index=True, return_inverse=True)
    colours = tuple(tuple(c) for c in rgb.reshape(-1, 3)[first].tolist())
    raster = Raster(numbers.reshape(packed.shape), brightness.ravel()[first].astype(np.float64))
    return StoredMask(raster, colours, brightness, 255, colours, is_lossy)


def is_deep(picture: Image.Image) -> bool:
    """Whether an image has integers of more than 8 bits."""
    return picture.mode == "I" or picture.mode.startswith("I;16")


def deep(picture: Image.Image) -> NDArray[np.int64]:
    """Pixels of an image of more than 8 bits.

    Raises:
        ValueError: If they have more than 16.
    """
    # Pillow may open 16-bit files in a 32-bit mode, so the values are checked and not the mode.
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f"expected integers of at most 16 bits, got {values.min()} to {values.max()}; "
            "rescale to 16 bits"
        )
    return values


def on_black(picture: Image.Image) -> Image.Image:
    """The image as RGB, with transparency composited over black."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    rgba = picture.convert("RGBA")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba).convert("RGB")


def _alpha_varies(drawing: Image.Image) -> bool:
    opacity = np.asarray(drawing.convert("RGBA"))[..., 3]
    return bool(opacity.min() != opacity.max())
