"""Search for folders of images and masks in a source, and pairing of their files by name."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import NamedTuple

from PIL import Image

from palpate.data.prepare.archives import without_ending
from palpate.data.prepare.converter import WrongLayout
from palpate.data.prepare.item import Item
from palpate.data.prepare.pictures import (
    Foreground,
    of_one_colour,
    opened,
    read_image,
    read_masks,
)
from palpate.data.prepare.source import Source
from palpate.data.problems import refuse
from palpate.data.reading.files import naming
from palpate.data.reading.masks import count_values

Folders = Mapping[str, Sequence[str]]  # names of image files by their folder


# Spellings of folder names in downloads and in copies of them; case does not matter.
_SPELLINGS = {
    "images": ("images", "image", "imgs", "img"),
    "masks": (
        "masks", "mask", "ground truth", "groundtruth", "ground_truth", "ground-truth", "gt", "gts",
        "labels", "label",
    ),
}  # fmt: skip
_USUAL = {spelling: usual for usual, some in _SPELLINGS.items() for spelling in some}


class Layout(NamedTuple):
    """Folders of images and masks below one parent folder.

    Case does not matter, and other spellings of images and masks (``image``, ``Ground Truth``) are
    found, too; the folder that is spelled as here takes precedence.

    Attributes:
        images: Path of the folder of images.
        masks: Path of the folder of masks.
        image_of: Maps the name of a mask to that of its image, both without extension.
    """

    images: str
    masks: str
    image_of: Callable[[str], str] = str


class Pair(NamedTuple):
    """Names of an image and its mask in a source."""

    image: str
    mask: str

    @property
    def stem(self) -> str:
        return PurePosixPath(self.image).stem

    @property
    def image_name(self) -> str:
        return PurePosixPath(self.image).name


def pictures(source: Source) -> dict[str, list[str]]:
    """Sorted names of image files by folder; folder paths begin with the name of the source."""
    # The name of the source counts, since users may pass any folder of a download as source.
    known = Image.registered_extensions()
    folders: dict[str, list[str]] = {}
    for name in source.names:
        path = PurePosixPath(source.path.resolve().name, name)
        if path.suffix.lower() in known:
            folders.setdefault(str(path.parent), []).append(name)
    return folders


def folders_named(folders: Folders, *endings: str) -> list[str]:
    """Folders whose path ends with one of the given paths.

    Case does not matter. Without a folder that is spelled like this, other spellings of images and
    masks count, such as ``image`` or ``Ground Truth``.

    >>> folders_named({"a/Kvasir-SEG/images": [], "b/my-images": []}, "images")
    ['a/Kvasir-SEG/images']
    >>> folders_named({"a/GT": [], "a/Image": []}, "masks")
    ['a/GT']
    """
    for spelled in (_parts, _usual_parts):
        wanted = [spelled(ending) for ending in endings]
        found = [f for f in folders if any(spelled(f)[-len(w) :] == w for w in wanted)]
        if found:
            return found
    return []


def stems_like(folders: Folders, pattern: re.Pattern[str]) -> dict[str, Sequence[str]]:
    """Folders that contain a file whose name without extension matches the pattern."""
    return {
        folder: names
        for folder, names in folders.items()
        if any(pattern.fullmatch(PurePosixPath(name).stem) for name in names)
    }


def pairs_of(source: Source, folders: Folders, layouts: Sequence[Layout]) -> list[Pair] | None:
    """Pair the files of the first layout that exists in the source.

    Args:
        source: The source.
        folders: Image files by folder, see :func:`pictures`.
        layouts: Layouts by precedence.

    Returns:
        The pairs; None if none of the layouts exists.

    Raises:
        WrongLayout: If a layout exists in several places.
        ValueError: If an image has no mask or a mask has no image.
    """
    for layout in layouts:
        below = {ending: _below(folders, ending) for ending in (layout.images, layout.masks)}
        roots = [root for root in below[layout.images] if root in below[layout.masks]]
        if len(roots) > 1:
            raise WrongLayout(
                f"Expected {layout.images} and {layout.masks} once in {source.path}, got them in "
                f"{' and '.join('/'.join(root) for root in roots)}. Pass one of these as --source."
            )
        if roots:
            some, drawings = (_one(source, found[roots[0]]) for found in below.values())
            return pair_up(source, folders[some], folders[drawings], layout.image_of)
    return None


def _below(folders: Folders, ending: str) -> dict[tuple[str, ...], list[str]]:
    """Folders whose path ends with a given path, by their parent folder."""
    found: dict[tuple[str, ...], list[str]] = {}
    length = len(_parts(ending))
    for spelled in (_parts, _usual_parts):
        here: dict[tuple[str, ...], list[str]] = {}
        for folder in folders:
            if spelled(folder)[-length:] == spelled(ending):
                here.setdefault(_parts(folder)[:-length], []).append(folder)
        found = here | found  # folders spelled like the ending take precedence
    return found


def _one(source: Source, folders: Sequence[str]) -> str:
    if len(folders) > 1:
        raise WrongLayout(
            f"Expected one folder of images and one of masks in {source.path}, got "
            f"{' and '.join(folders)}. Keep one of these."
        )
    return folders[0]


def pair_up(
    source: Source,
    images: Iterable[str],
    masks: Iterable[str],
    image_of: Callable[[str], str] = str,
) -> list[Pair]:
    """Pair images and masks by name.

    Args:
        source: Source that contains the files.
        images: Names of images.
        masks: Names of masks.
        image_of: Maps the name of a mask to that of its image, both without extension.

    Returns:
        The pairs, sorted by name; names that are numbers come first, in numerical order.

    Raises:
        ValueError: If an image has no mask, a mask has no image, or names are not unique.
    """
    by_stem = _unique(source, images, str)
    drawings = _unique(source, masks, image_of)
    alone = [f"{source.label(by_stem[s])}: no mask" for s in by_stem.keys() - drawings.keys()]
    alone += [f"{source.label(drawings[s])}: no image" for s in drawings.keys() - by_stem.keys()]
    refuse(
        sorted(alone),
        "Expected a mask for every image and an image for every mask",
        remedy="Download the set again, or take these files out of it.",
    )
    return [Pair(by_stem[stem], drawings[stem]) for stem in sorted(by_stem, key=_by_number)]


def pair_item(
    source: Source,
    pair: Pair,
    structure: str,
    *,
    split: str | None = None,
    group: str | None = None,
    facts: Mapping[str, str] | None = None,
    folder: str = "",
    mask_name: str | None = None,
    threshold: Foreground = of_one_colour,
    ignored: Foreground | None = None,
) -> Item:
    """Make an item of a pair: the image is copied unchanged, the mask becomes a binary PNG.

    Args:
        source: Source that contains both files.
        pair: Their names in the source.
        structure: Structure that the mask outlines.
        split: Official split; None if there is none.
        group: Patient if known; by default the image is its own group.
        facts: Other metadata.
        folder: Folder below ``images/`` and ``masks/`` with a trailing slash; empty for none.
        mask_name: Name of the mask; by default that of the image with the extension ``.png``.
        threshold: Computes the foreground of a mask as stored.
        ignored: Computes its ignored pixels; None if all pixels count.
    """
    image_name = folder + pair.image_name
    return Item(
        image_name=image_name,
        mask_name=folder + (mask_name or f"{pair.stem}.png"),
        group=group or image_name,
        structure=structure,
        split=split,
        members=(pair.image, pair.mask),
        read_image=partial(read_image, source, pair.image),
        read_mask=partial(read_masks, source, pair.image, pair.mask, threshold=threshold),
        original=pair.image,
        facts=facts or {},
        read_ignored=None
        if ignored is None
        else partial(read_masks, source, pair.image, pair.mask, threshold=ignored),
        count_values=partial(_count_values, source, pair.mask),
    )


def _count_values(source: Source, mask: str) -> Counter[str]:
    with opened(source, mask) as drawing, naming(source.label(mask)):
        return count_values(drawing)


def wrong(source: Source, folders: Folders, expected: str) -> WrongLayout:
    """Make the error for a source without the expected folders; it lists the existing ones."""
    listed = ", ".join(sorted(folders)[:4]) or "no images"
    packed = [name for name in source.names if without_ending(name) != name]
    inside = f", and archives in it such as {packed[0]} (unpack these)" if packed else ""
    return WrongLayout(f"Expected {expected} in {source.path}, got {listed}{inside}.")


def _unique(
    source: Source, names: Iterable[str], rename: Callable[[str], str]
) -> Mapping[str, str]:
    by_stem: dict[str, str] = {}
    twice = []
    for name in names:
        stem = rename(PurePosixPath(name).stem)
        if by_stem.setdefault(stem, name) != name:
            twice.append(f"{source.label(by_stem[stem])} and {source.label(name)}")
    refuse(
        twice,
        "Expected files whose names differ in more than folder and extension, got",
        remedy="Keep one of each.",
    )
    return by_stem


def _parts(folder: str) -> tuple[str, ...]:
    """Parts of a path in lower case; an archive is treated as a folder of its name."""
    return tuple(without_ending(part.lower()) for part in folder.split("/"))


def _usual_parts(folder: str) -> tuple[str, ...]:
    """Parts of a path in lower case, with the usual spelling of images and masks."""
    return tuple(_USUAL.get(part, part) for part in _parts(folder))


def _by_number(stem: str) -> tuple[bool, int, str]:
    return not stem.isdecimal(), int(stem) if stem.isdecimal() else 0, stem
