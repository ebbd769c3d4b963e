"""Measure which masks are taken for binary: real ones, soft edges, JPEG, label maps and images.

python docs/scripts/measure_masks.py [DATA]

DATA is a folder of data sets with ``images/`` and ``masks/``. Each line has the kind of raster, how
many there are and how many :func:`palpate.data.reading.masks.read_mask` refuses.
"""

import argparse
import io
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from palpate.data.reading.files import UnclearMask
from palpate.data.reading.masks import read_mask

SIDE = 128
RADII = (1.5, 2, 3, 5, 10, 30, 60)
QUALITIES = (30, 50, 60, 75, 90, 95, 98, 100)
FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
LABELS = (
    (0, 127, 255), (0, 128, 255), (255, 0, 128), (0, 1, 255), (0, 1, 2), (0, 85, 170, 255),
    (0, 64, 255), (0, 192, 255), (0, 100, 200), (0, 200, 210), (0, 250, 255), (0, 254, 255),
)  # fmt: skip

Kinds = Iterator[tuple[str, Image.Image]]


def drawn(fine: int = 1) -> Iterator[NDArray[np.uint8]]:
    """Discs, a triangle and thin lines, ``fine`` times as large as ``SIDE``."""
    generator = np.random.default_rng(0)
    rows, columns = (np.mgrid[: SIDE * fine, : SIDE * fine] + 0.5) / fine
    for radius in RADII:
        x, y = generator.uniform(radius + 2, SIDE - radius - 2, 2)
        yield ((columns - x) ** 2 + (rows - y) ** 2 < radius**2).astype(np.uint8) * 255
    for corners, width in (([20, 20, 90, 30, 60, 100], 0), ([5, 9, 70, 50, 120, 20], 2)):
        picture = Image.new("L", (SIDE * fine, SIDE * fine))
        points = [fine * corner for corner in corners]
        draw = ImageDraw.Draw(picture)
        if width:
            draw.line(points, fill=255, width=width * fine)
        else:
            draw.polygon(points, fill=255)
        yield np.asarray(picture)


def binary() -> Kinds:
    """Binary masks with soft edges, of several sizes, and through JPEG."""
    for fine in (2, 3, 4, 8):
        for shape in drawn(fine):
            blocks = shape.reshape(SIDE, fine, SIDE, fine).mean((1, 3))
            yield "supersampled", Image.fromarray(np.rint(blocks).astype(np.uint8))
    for shape in drawn():
        picture = Image.fromarray(shape)
        for side, how in product((64, 90, 224, 300), FILTERS):
            yield f"resized, {how.name.lower()}", picture.resize((side, side), how)
        for sigma in (0.5, 1, 2):
            blurred = gaussian_filter(shape.astype(float), sigma)
            yield "blurred", Image.fromarray(np.rint(blurred).astype(np.uint8))
        for quality in QUALITIES:
            yield "JPEG", jpeg(picture, quality)
            yield "JPEG stored as PNG", Image.fromarray(np.asarray(jpeg(picture, quality)))


def several() -> Kinds:
    """Label maps: apart, nested, small, enlarged, and through JPEG."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for values in LABELS:
        apart, nested, small = (np.full((SIDE, SIDE), values[0], np.uint8) for _ in range(3))
        for place, value in enumerate(values[1:]):
            x, y = ((35, 40), (90, 90), (30, 100))[place]
            apart[(columns - x) ** 2 + (rows - y) ** 2 < 18**2] = value
            nested[(columns - 64) ** 2 + (rows - 64) ** 2 < (50 - 3 * place) ** 2] = value
            radius = (3, 25, 12)[place]
            small[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = value
        yield "label map, apart", Image.fromarray(apart)
        yield "label map, rims of 3 pixels", Image.fromarray(nested)
        yield "label map, one structure of radius 3", Image.fromarray(small)
        for side, how in product((90, 224, 300), FILTERS):
            yield "label map, resized", Image.fromarray(apart).resize((side, side), how)
        if max(np.diff(sorted(values))) and min(np.diff(sorted(values))) > 8:
            for quality in QUALITIES:
                yield "label map, JPEG", jpeg(Image.fromarray(apart), quality)


def real(data: Path) -> Kinds:
    """Masks of data sets, as they are and resized, and images given as masks."""
    for folder in sorted(path.parent for path in data.glob("*/masks")):
        masks = _pictures(folder / "masks")
        for path in masks[:: max(1, len(masks) // 60)]:
            yield f"{folder.name}, masks", Image.open(path)
        for path in masks[:: max(1, len(masks) // 8)]:
            picture = Image.fromarray(np.asarray(Image.open(path).convert("L")))
            for side, how in product((120, 224, 400), FILTERS):
                yield f"{folder.name}, masks resized", picture.resize((side, side), how)
        images = _pictures(folder / "images")
        for path in images[:: max(1, len(images) // 20)]:
            shades = np.asarray(Image.open(path).convert("L"))
            yield f"{folder.name}, grey images as masks", Image.fromarray(shades)


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    """The picture as a JPEG."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def _pictures(folder: Path) -> list[Path]:
    known = Image.registered_extensions()
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in known)


def _is_refused(picture: Image.Image) -> bool:
    try:
        read_mask(picture)
    except UnclearMask:
        return True
    return False


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", type=Path)
    data = parser.parse_args().data
    counts: dict[str, list[int]] = {}
    for kinds in (binary(), several(), *([] if data is None else [real(data)])):
        for kind, picture in kinds:
            count = counts.setdefault(kind, [0, 0])
            count[0] += 1
            count[1] += _is_refused(picture)
    print("| raster | n | refused |\n| --- | --- | --- |")
    for kind, (of, refused) in counts.items():
        print(f"| {kind} | {of} | {refused} |")


if __name__ == "__main__":
    main()
