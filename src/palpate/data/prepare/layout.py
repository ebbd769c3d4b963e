"""Finding image and mask folders in a source by their names, and pairing their files."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from PIL import Image

from palpate.data.prepare.folders import is_litter
from palpate.data.prepare.source import Source
from palpate.data.problems import refuse


class Pair(NamedTuple):
    """Names of an image and of its mask in a source."""

    image: str
    mask: str

    @property
    def stem(self) -> str:
        return PurePosixPath(self.image).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.image).suffix


def pictures(source: Source) -> dict[str, list[str]]:
    """Image files of a source by the folder they are in, as a path; both sorted by name."""
    known = Image.registered_extensions()
    folders: dict[str, list[str]] = {}
    for name in source.names:
        path = PurePosixPath(name)
        if path.suffix.lower() in known and not is_litter(name):
            folders.setdefault(path.parent.as_posix(), []).append(name)
    return folders


def folders_named(folders: Iterable[str], *endings: str) -> list[str]:
    """Folders whose path ends in one of the endings, in whatever case.

    >>> folders_named(["a/Kvasir-SEG/images", "b/my-images"], "images")
    ['a/Kvasir-SEG/images']
    """
    wanted = [tuple(ending.lower().split("/")) for ending in endings]
    paths = {folder: PurePosixPath(folder.lower()).parts for folder in folders}
    return [f for f, parts in paths.items() if any(parts[-len(w) :] == w for w in wanted)]


def pair_up(
    source: Source,
    images: Iterable[str],
    masks: Iterable[str],
    image_of: Callable[[str], str] = str,
) -> list[Pair]:
    """Images and masks that belong together, in the order of the images' numbers.

    Args:
        source: Both are in it.
        images: Names of images.
        masks: Names of masks.
        image_of: The name of an image without extension, given that of its mask.

    Raises:
        ValueError: If an image has no mask or a mask no image, or two have the same name.
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


def _by_number(stem: str) -> tuple[int, int | str, str]:
    return (0, int(stem), stem) if stem.isdecimal() else (1, stem, stem)
