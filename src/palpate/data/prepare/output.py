"""Writing of an image (byte for byte if possible) and its masks (binary PNG)."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from palpate.atomic import replacing
from palpate.data.prepare.item import Item
from palpate.data.prepare.pictures import opened
from palpate.data.prepare.record import Record
from palpate.data.prepare.source import Source
from palpate.data.reading.orientation import ORIENTATION, orientation, unturned

_STRUCTURE, _IGNORED = 255, 128  # grey values of mask files

# (structure, image (h, w, 3), mask (h, w), facts) -> texts by level
Texts = Callable[[str, NDArray[np.uint8], NDArray[np.bool_], Mapping[str, str]], Mapping[str, Any]]


def write_image(
    items: Sequence[Item], source: Source, folder: Path, recipes: Sequence[str], texts: Texts
) -> list[Record]:
    """Write an image and all its masks, each file atomically.

    Args:
        items: All items of one image.
        source: Source that contains their files.
        folder: Folder of the data set.
        recipes: Recipe hash of each item, for its record.
        texts: Function that writes the prompts of a mask.

    Returns:
        A record for each item.

    Raises:
        ValueError: If a file cannot be read or a mask does not fit the image; names the file.
    """
    first = items[0]
    image = first.read_image()
    masks = [_checked(item, item.read_mask(), image) for item in items]
    ignored = [
        None if item.read_ignored is None else _checked(item, item.read_ignored(), image)
        for item in items
    ]
    turn = 1
    if first.original is not None:
        with opened(source, first.original) as picture:
            turn = orientation(picture)
    files = {f"images/{first.image_name}": _write_picture(first, image, source, folder)}
    return [
        Record(
            mask_name=item.mask_name,
            recipe=recipe,
            members=member_checksums(item, source),
            files=files
            | {f"masks/{item.mask_name}": _write_mask(item, _levels(mask, left), turn, folder)},
            entry=_entry(item, texts(item.structure, image, mask, item.facts), left),
            area=float(mask.mean()),
        )
        for item, mask, left, recipe in zip(items, masks, ignored, recipes, strict=True)
    ]


def member_checksums(item: Item, source: Source) -> dict[str, str]:
    """SHA-256 of the source files of an item by name, or by number if names are private."""
    names = [f"file {n}" if item.is_private else m for n, m in enumerate(item.members)]
    sums = [source.checksum(member) for member in item.members]
    return dict(zip(names, sums, strict=True))


def checksum(path: Path) -> str:
    """SHA-256 of a file; empty if it does not exist."""
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        digest = sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _checked(item: Item, mask: NDArray[np.bool_], image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    if mask.shape != image.shape[:2]:
        raise ValueError(
            f"Expected the mask {item.mask_name} to be as large as its image, got "
            f"{mask.shape[1]}x{mask.shape[0]} pixels for {image.shape[1]}x{image.shape[0]}."
        )
    return mask


def _write_picture(item: Item, image: NDArray[np.uint8], source: Source, folder: Path) -> str:
    path = folder / "images" / item.image_name
    if item.original is None:
        picture = Image.fromarray(_grey_if_grey(image))
        return _write(path, lambda stream: picture.save(stream, "PNG"))
    with source.open(item.original) as original:
        return _write(path, lambda stream: shutil.copyfileobj(original, stream))


def _grey_if_grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One channel of an image if all three are equal, for a smaller file."""
    red = image[..., 0]
    same = (red == image[..., 1]).all() and (red == image[..., 2]).all()
    return np.ascontiguousarray(red) if same else image


def _levels(mask: NDArray[np.bool_], ignored: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """Grey values of a mask file: 255 in the structure, 128 where pixels are ignored, else 0."""
    levels = mask.astype(np.uint8) * _STRUCTURE
    return levels if ignored is None else np.where(ignored, _IGNORED, levels).astype(np.uint8)


def _write_mask(item: Item, levels: NDArray[np.uint8], turn: int, folder: Path) -> str:
    # Stored and tagged like the image, or a reader might turn the mask twice or not at all.
    drawing = unturned(Image.fromarray(levels), turn)
    exif = Image.Exif()
    if turn != 1:
        exif[ORIENTATION] = turn
    path = folder / "masks" / item.mask_name
    return _write(path, lambda stream: drawing.save(stream, "PNG", exif=exif))


def _write(path: Path, fill: Callable[[BinaryIO], object]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    # prepare() removes the temporary files of interrupted runs once, when it opens the folder.
    with replacing(path, tidy=False) as temporary, temporary.open("wb") as stream:
        fill(stream)
    return checksum(path)


def _entry(
    item: Item, prompts: Mapping[str, Any], ignored: NDArray[np.bool_] | None
) -> dict[str, Any]:
    # Only masks with ignored pixels need a note on how they are read.
    is_partial = ignored is not None and bool(ignored.any())
    return ({"values": [_STRUCTURE], "ignore": [_IGNORED]} if is_partial else {}) | {
        "img_name": item.image_name,
        "mask_name": item.mask_name,
        "prompts": dict(prompts),
        "group": item.group,
        "structure": item.structure,
        "facts": dict(item.facts),
    }
