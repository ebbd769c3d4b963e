"""From files to tensors: what the many ways to store an image or a mask mean here.

Images. Gray becomes three equal channels; 16-bit gray is divided by 65535, whatever range the data
use; 16 bits per colour channel are read as 8; palettes and CMYK become RGB; transparency is
composited over black; of several frames the first counts. The EXIF orientation is applied.

Masks. Colour becomes luminance. A pixel is foreground from half the range of its file type on (128
of 255, 32768 of 65535), which undoes the ringing of JPEG; a lossless file with no values but 0 and
1 means just that. A lossless mask whose values all stay below half range is refused, for it would
be read as empty without a word. A mask without an EXIF orientation of its own that has the shape
of the image *as stored* is turned like the image; one that has the shape of the image as displayed
is taken as it is. A mask of another size but the same shape (sides in proportion within 2 %) is
resized to its image.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

_ORIENTATION = 0x0112  # EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_SHAPE_TOLERANCE = 0.02
_LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP")


def read_pair(
    image: Path, mask: Path, size: int | None = None
) -> tuple[Float[Tensor, "3 h w"], Bool[Tensor, "1 h w"]]:
    """An image and its mask, upright and of one size.

    Args:
        image: File of the image.
        mask: File of the mask.
        size: Side of the square that both are resized to, in pixels; by default the image's own
            size. Images are resized bilinearly with antialiasing, masks by nearest neighbour.

    Returns:
        The image in [0, 1], and the mask.

    Raises:
        ValueError: If a file cannot be read or the mask does not fit the image.
    """
    with opened(image) as picture, opened(mask) as drawing:
        turns = orientations(picture, drawing)
        check_shapes(picture, drawing, turns)
        with naming(image):
            pixels = _rgb(picture, turns[0], size)
        with naming(mask):
            foreground = binary(drawing)
    height, width = pixels.shape[-2:]
    flat = Image.fromarray(foreground.astype(np.uint8))
    flat = _turned(flat, turns[1]).resize((width, height), Image.Resampling.NEAREST)
    return pixels, torch.from_numpy(np.asarray(flat) > 0).unsqueeze(0)


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file; whatever goes wrong inside names the file."""
    with naming(path):
        picture = Image.open(path)
    with picture:
        yield picture


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn any failure to decode into one error that says which file it was."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"Expected a readable image in {path}, but: {error}.") from error


def orientations(picture: Image.Image, drawing: Image.Image) -> tuple[int, int]:
    """EXIF orientations to apply to an image and to its mask."""
    image_turn, mask_turn = _orientation(picture), _orientation(drawing)
    if mask_turn == 1 and same_shape(drawing.size, picture.size):
        mask_turn = image_turn
    return image_turn, mask_turn


def check_shapes(picture: Image.Image, drawing: Image.Image, turns: tuple[int, int]) -> None:
    """Refuse a mask whose sides are not in the proportion of the image's."""
    upright = [_upright(i.size, turn) for i, turn in zip((picture, drawing), turns, strict=True)]
    if not same_shape(*upright):
        (w, h), (mask_w, mask_h) = upright
        raise ValueError(
            f"Expected a mask in the proportions of its image, got {mask_w}x{mask_h} pixels "
            f"in {_name(drawing)} for {w}x{h} in {_name(picture)}."
        )


def same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes (width, height) have the same proportions within 2 %.

    >>> same_shape((640, 480), (320, 240)), same_shape((640, 480), (480, 640))
    (True, False)
    """
    ratio = (one[0] * other[1]) / (one[1] * other[0])
    return abs(ratio - 1) <= _SHAPE_TOLERANCE


def binary(drawing: Image.Image) -> NDArray[np.bool_]:
    """Foreground of a mask as stored, not yet turned upright."""
    values, top = _gray(drawing)
    half, brightest = (top + 1) // 2, int(values.max())
    if drawing.format not in _LOSSY:
        if brightest == 1:
            half = 1
        elif 0 < brightest < half:
            raise ValueError(
                f"expected a mask with foreground at {top} (or 0 and 1 only), got values up to "
                f"{brightest}. If it is a label map, write one binary mask per structure"
            )
    foreground: NDArray[np.bool_] = values >= half
    return foreground


def _gray(picture: Image.Image) -> tuple[NDArray[np.integer], int]:
    """Luminance and the largest value that the file type can hold."""
    if picture.mode == "1":
        return np.asarray(picture.convert("L")), 255
    if _is_deep(picture):
        return _deep(picture), 65535
    return np.asarray(_on_black(picture).convert("L")), 255


def _rgb(picture: Image.Image, turn: int, size: int | None) -> Float[Tensor, "3 h w"]:
    if picture.mode == "F" or _is_deep(picture):
        picture = Image.fromarray(_unit(picture))
    else:
        picture = _on_black(picture)
    picture = _turned(picture, turn)
    if size is not None:
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    array = np.array(picture, dtype=np.float32)
    if picture.mode == "F":
        return torch.from_numpy(array).clamp(0, 1).expand(3, -1, -1).contiguous()
    return torch.from_numpy(array).permute(2, 0, 1).contiguous() / 255


def _is_deep(picture: Image.Image) -> bool:
    return picture.mode == "I" or picture.mode.startswith("I;16")


def _deep(picture: Image.Image) -> NDArray[np.int64]:
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f"expected integers of at most 16 bits, got {values.min()} to {values.max()}; "
            "rescale to 16 bits"
        )
    return values


def _unit(picture: Image.Image) -> NDArray[np.float32]:
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
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    rgba = picture.convert("RGBA")
    black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba).convert("RGB")


def _orientation(picture: Image.Image) -> int:
    with naming(Path(_name(picture))):
        value = picture.getexif().get(_ORIENTATION, 1)
    return value if value in _TURNS else 1


def _turned(picture: Image.Image, orientation: int) -> Image.Image:
    return picture.transpose(_TURNS[orientation]) if orientation != 1 else picture


def _upright(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return size[::-1] if orientation in _SIDEWAYS else size


def _name(picture: Image.Image) -> str:
    return str(getattr(picture, "filename", "") or "the image")
