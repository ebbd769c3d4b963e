"""Summaries of the images and masks of a data set, for which each file is decoded once."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Shaped
from PIL import Image, ImageOps

from palpate.data.annotations import FileEntry
from palpate.data.integrity.near_duplicates import content_digest, low_frequencies
from palpate.data.reading.decode import foreground, plain
from palpate.data.reading.files import UnclearMask, naming, opened
from palpate.data.reading.mask_values import BINARY, Value
from palpate.data.reading.orientation import check_shapes, orientations, turned_on_trust
from palpate.data.reading.stored_mask import LOSSY
from palpate.progress import Progress, silent

_Wanted = TypeVar("_Wanted")
_Result = TypeVar("_Result")

_COLOURED = 48  # difference of channels above which a pixel is coloured; JPEG errors are smaller
_MIDDLE = (64, 192)  # grey levels that sharp binary masks do not contain
_GREY = ("1", "L")


@dataclass(frozen=True)
class ImageSummary:
    """Hashes of an image.

    Attributes:
        digest: Hash of the pixels, see :func:`content_digest`.
        low: Low frequencies for the perceptual hash, see :func:`low_frequencies`; None if flat.
    """

    digest: str
    low: Float[np.ndarray, "16 16"] | None


@dataclass(frozen=True)
class MaskSummary:
    """Statistics of a mask.

    Attributes:
        share: Fraction of foreground pixels.
        size: Width and height as stored.
        wanted: Width and height of the image as stored.
        levels: Number of different grey values.
        middling: Fraction of pixels that are neither dark nor bright.
        coloured: Fraction of pixels that are not grey.
        lossy: Whether the file format is lossy, such as JPEG.
        on_trust: Whether the mask is turned like its image although it would also fit unturned.
        framed: Whether the foreground reaches all four borders.
    """

    share: float
    size: tuple[int, int]
    wanted: tuple[int, int]
    levels: int
    middling: float
    coloured: float
    lossy: bool
    on_trust: bool
    framed: bool


@dataclass(frozen=True)
class Fault:
    """A file that cannot be decoded, or a mask that cannot be used.

    Attributes:
        check: The check that failed, one of ``CHECKS``.
        message: What is wrong with which file.
        values: Values to choose the structure from, if the mask has several.
    """

    check: str
    message: str
    values: tuple[Value, ...] = ()


def summarise_images(
    paths: Iterable[Path], progress: Progress = silent
) -> dict[Path, ImageSummary | Fault]:
    """Decode and summarise images in parallel; repeated paths are decoded once."""
    wanted = list(dict.fromkeys(paths))
    return dict(zip(wanted, _parallel(_image, wanted, "images", progress), strict=True))


def summarise_masks(
    entries: Sequence[FileEntry], progress: Progress = silent
) -> dict[Path, MaskSummary | Fault]:
    """Decode and summarise masks in parallel; of their images only the headers are read."""
    wanted = list({entry.mask: entry for entry in entries}.values())
    looks = _parallel(_mask, wanted, "masks", progress)
    return {entry.mask: look for entry, look in zip(wanted, looks, strict=True)}


def _parallel(
    summarise: Callable[[_Wanted], _Result],
    wanted: Sequence[_Wanted],
    stage: str,
    progress: Progress,
) -> list[_Result]:
    found: list[_Result] = []
    with ThreadPoolExecutor(cpu_count() or 1) as pool:  # decoding releases the interpreter's lock
        for one in pool.map(summarise, wanted):
            found.append(one)
            progress(stage, len(found), len(wanted))
    return found


def _image(path: Path) -> ImageSummary | Fault:
    try:
        with opened(path) as picture, naming(path):
            pixels = np.asarray(plain(ImageOps.exif_transpose(picture)))
            return ImageSummary(content_digest(pixels), low_frequencies(_grey(pixels)))
    except ValueError as error:
        return Fault("unreadable", str(error))


def _grey(pixels: Shaped[np.ndarray, "..."]) -> Image.Image:
    if pixels.ndim == 3:
        return Image.fromarray(pixels).convert("L")
    values = pixels.astype(np.float32)  # 16-bit images may use a small part of their range
    lowest, highest = float(values.min()), float(values.max())
    return Image.fromarray((values - lowest) * (255 / max(highest - lowest, 1e-6)))


def _mask(entry: FileEntry) -> MaskSummary | Fault:
    try:
        with opened(entry.mask) as drawing:
            with naming(entry.mask):
                drawing.load()
            return _beside(entry, drawing)
    except ValueError as error:
        return Fault("unreadable", str(error))


def _beside(entry: FileEntry, drawing: Image.Image) -> MaskSummary | Fault:
    """Summary of a decoded mask, compared with the header of its image."""
    with opened(entry.image) as picture:
        wanted, on_trust = picture.size, turned_on_trust(picture, drawing)
        try:
            check_shapes(picture, drawing, orientations(picture, drawing))
        except ValueError as error:
            return Fault("sizes", str(error))
    pixels = np.asarray(drawing if drawing.mode in _GREY else plain(drawing))
    coloured = _coloured(pixels)
    try:
        mask = foreground(drawing, entry.rule)
    except UnclearMask as error:
        return Fault("binary", f"{entry.mask}: {error}.", error.values)
    except ValueError as error:
        return Fault("binary", f"{entry.mask}: {error}.")
    if entry.rule != BINARY:
        pixels, coloured = mask, 0.0  # what counts are the values that are picked
    levels, middling = _levels(pixels)
    return MaskSummary(
        float(mask.mean()), drawing.size, wanted, levels, middling, coloured,
        drawing.format in LOSSY, on_trust,
        framed=all(side.any() for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1])),
    )  # fmt: skip


def _coloured(pixels: Shaped[np.ndarray, "..."]) -> float:
    if pixels.ndim != 3:
        return 0.0
    red, green, blue = (pixels[..., channel].astype(np.int16) for channel in range(3))
    spread = np.maximum(abs(red - green), abs(green - blue))
    return float((spread > _COLOURED).mean())


def _levels(pixels: Shaped[np.ndarray, "..."]) -> tuple[int, float]:
    grey = pixels[..., 0] if pixels.ndim == 3 else pixels
    grey = grey.astype(np.uint8) * 255 if grey.dtype == np.bool_ else grey
    if grey.dtype != np.uint8:
        return len(np.unique(grey)), 0.0
    counts = np.bincount(grey.ravel(), minlength=256)
    return int((counts > 0).sum()), float(counts[_MIDDLE[0] : _MIDDLE[1]].sum() / grey.size)
