"""Data sets from a folder of images and a folder of masks, with one prompt for all."""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from palpate.data.annotations import ALL_SPLITS, SPLITS, FileEntry, check_limit, check_split
from palpate.data.check import check_files
from palpate.data.dataset import DatasetSpec, PromptedDataset
from palpate.data.patients import patient_or_name
from palpate.data.problems import refuse
from palpate.data.prompt_policy import PromptPolicy
from palpate.data.reading.files import opened
from palpate.data.reading.mask_values import BINARY, Structure, Values, structures_of
from palpate.data.sources.registry import always
from palpate.data.structures import only_present, prompt_of, structures_shown
from palpate.prompting import NO_PROMPT
from palpate.randomness import generator

PAIRS = "pairs"

# Suffixes of mask names in published data sets.
_MASK_ENDINGS = ("_mask", "_segmentation", "_seg", "_gt", "_label", "-mask", "-gt", "-label")
_VALIDATION, _TEST = 0.2, 0.3  # fractions of the patients; the rest is for training
_LEVEL = "p1"
_SHARED_MASK = "Rename them, or else one mask would belong to several."
NO_FOREGROUND = "no foreground"  # structure of images with an empty mask
_TEXTS = (".txt", ".csv", ".json", ".md", ".xml", ".yaml", ".yml", ".html", ".ini", ".db")
_SPEC = DatasetSpec(PAIRS, "", partial(always, "foreground"), patient_or_name)


def load_pairs(
    images: str | Path,
    masks: str | Path,
    *,
    prompt: str | None = None,
    split: str = "test",
    size: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    values: Values = None,
    ignore: Values = None,
    healthy: bool = False,
    title: str = PAIRS,
) -> PromptedDataset:
    """Load images and masks that are paired by their file names.

    A mask has the name of its image, with any extension, or that name followed by ``_mask``,
    ``_segmentation``, ``_seg``, ``_gt`` or ``_label``. Files without a partner are left out with a
    warning. The seed assigns pairs to splits: 20 % to validation and 30 % to test, at least one
    each; ``all`` loads every pair, without a split. Images whose names have the same number after
    ``patient``, ``subject``, ``sub``, ``pat`` or ``case`` stay in one split. If file names do not
    identify patients, write annotations and use ``load_data("folder")``.

    Args:
        images: Folder of images.
        masks: Folder of masks; may be the same folder if masks have one of these endings.
        prompt: Text for every image, in which ``{structure}`` stands for the name that ``values``
            gives. By default that name, or no text, for models that read none.
        split: ``train``, ``val``, ``test`` or ``all``.
        size: Side of the square that images and masks are resized to, in pixels; by default each
            keeps its own size.
        seed: Seed of the assignment to splits.
        limit: Use only the first ``limit`` pairs of the split.
        values: What the values of the masks mean, if these are not binary: ``127`` or ``[1, 2]``
            for one structure, ``{255: "tumour", 127: "liver"}`` for several, each of which becomes
            a sample of its own. A value is a grey value, a palette index, a colour (``"#ff0000"``)
            or a brightness and all above it (``">=128"``).
        ignore: Values of pixels that count in no loss, attack or metric, such as ``255``.
        healthy: Allow empty masks, of images in which there is nothing to find. Their structure is
            ``no foreground``, so that reports list them apart.
        title: Name of the data set in rows, tables and pages.

    Returns:
        The data set; its images are read when a sample is indexed.

    Raises:
        FileNotFoundError: If a folder is missing, or too few images have a mask: fewer than three
            to split, or none.
        ValueError: If a file cannot be read, a mask is empty or differs from its image in size, or
            masks have more than two values and ``values`` does not say what they mean.
    """
    check_split(split)
    check_limit(limit)
    if prompt is not None and not prompt.strip():
        raise ValueError("Expected a prompt that names what the masks outline, got an empty one.")
    structures = structures_of(values, ignore)
    text = _text(structures, prompt)
    level = NO_PROMPT if text is None else _LEVEL
    least = 1 if split == ALL_SPLITS else len(SPLITS)
    pairs = _pairs(Path(images), Path(masks), {level: (text or "",)}, least)
    found = structures_shown(pairs, structures)
    seen = check_files(found)
    present = {entry.key for entry, there in zip(found, seen, strict=True) if there}
    found = only_present(found, seen, structures)
    refuse(
        [fault for entry in found for fault in _faults(entry, healthy, entry.key not in present)],
        "Expected masks of the size of their images, with foreground",
        remedy="Export these masks again, or take these images out of the folder.",
    )
    found = [e if e.key in present else replace(e, structure=NO_FOREGROUND) for e in found]
    chosen = found if split == ALL_SPLITS else _deal(found, seed)[split]
    policy = PromptPolicy(level, seed=seed)
    return PromptedDataset(replace(_SPEC, name=title), split, tuple(chosen[:limit]), policy, size)


def _text(structures: Sequence[Structure], prompt: str | None) -> str | None:
    """Text of the entries before they are divided into structures; None if there is no prompt."""
    prompts = [prompt_of(each, prompt, several=len(structures) > 1) for each in structures]
    return prompt if len(structures) > 1 and prompt is not None else prompts[0]


def _pairs(
    images: Path, masks: Path, texts: dict[str, tuple[str, ...]], least: int
) -> list[FileEntry]:
    pictures, drawings = pictures_in(images), _by_image(masks, exact=not _same(images, masks))
    pictures = [path for path in pictures if path not in drawings.values()]
    refuse_namesakes(pictures)
    found = [
        FileEntry(path.name, mask.name, path, mask, texts)
        for path in pictures
        if (mask := drawings.get(path.stem)) is not None
    ]
    if len(found) < least:
        raise FileNotFoundError(
            f"Expected at least {least} image{'s' * (least > 1)} in {images} with a mask of the "
            f"same name in {masks}, or of that name and one of {', '.join(_MASK_ENDINGS)}; found "
            f"{len(found)} among {len(pictures)} images{_such_as(pictures)} and "
            f"{len(set(drawings.values()))} masks{_such_as(drawings.values())}. Name "
            "each mask after its image."
        )
    _warn_of_left_out(images, masks, pictures, drawings)
    return found


def _warn_of_left_out(
    images: Path, masks: Path, pictures: Sequence[Path], drawings: Mapping[str, Path]
) -> None:
    """Warn of images and masks without a partner, and of what is no image that Pillow reads."""
    outlines = set(drawings.values())
    alone = [path for path in pictures if path.stem not in drawings]
    unused = sorted(outlines - {drawings.get(path.stem) for path in pictures})
    known = (*_TEXTS, *Image.registered_extensions())
    there = [
        path
        for path in sorted({*images.iterdir(), *masks.iterdir()})
        if not (path.name.startswith(".") or _same(path, masks) or _same(path, images))
    ]
    unread = [path for path in there if path.is_dir() or path.suffix.lower() not in known]
    left_out = {
        f"{len(alone)} of {len(pictures)} images have no mask": alone,
        f"{len(unused)} of {len(outlines)} masks have no image": unused,
        f"{len(unread)} of {len(there)} files and folders are no images that Pillow reads": unread,
    }
    for what, some in left_out.items():
        if some:
            warnings.warn(f"{what} and are left out{_such_as(some)}.", stacklevel=4)


def pictures_in(folder: Path) -> list[Path]:
    """Image files of a folder, of any format that Pillow reads, sorted by name.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"Expected a folder of images, but {folder} is not there.")
    known = Image.registered_extensions()
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in known and not path.name.startswith(".") and path.is_file()
    )


def _by_image(folder: Path, exact: bool) -> dict[str, Path]:
    """Masks by the name of their image; the same name takes precedence over one with an ending."""
    files = pictures_in(folder)
    ended = {bare: path for path in files if (bare := without_ending(path.stem)) != path.stem}
    return ended | {path.stem: path for path in files if exact}


def without_ending(stem: str) -> str:
    """The name of an image, given the name of its mask.

    >>> without_ending("ISIC_0000000_Segmentation"), without_ending("cju0qkwl35piu")
    ('ISIC_0000000', 'cju0qkwl35piu')
    """
    ending = next((e for e in _MASK_ENDINGS if stem.lower().endswith(e)), "")
    return stem[: len(stem) - len(ending)]


def refuse_namesakes(pictures: Sequence[Path], remedy: str = _SHARED_MASK) -> None:
    """Refuse images whose names differ in the extension only.

    Args:
        pictures: Image files.
        remedy: What to do, and why, in one sentence.

    Raises:
        ValueError: If there are some; all are named.
    """
    counts = Counter(path.stem for path in pictures)
    refuse(
        [str(path) for path in pictures if counts[path.stem] > 1],
        "Expected images whose names differ in more than the extension, got",
        remedy=remedy,
    )


def _faults(entry: FileEntry, healthy: bool, empty: bool) -> list[str]:
    with opened(entry.image) as picture, opened(entry.mask) as drawing:
        if sorted(picture.size) != sorted(drawing.size):
            sizes = "{}x{} pixels for an image of {}x{}".format(*drawing.size, *picture.size)
            return [f"{entry.mask}: {sizes}"]
        if not empty:
            return []
        if not healthy:
            return [f"{entry.mask}: empty"]
        if entry.rule != BINARY:
            return []  # other values are other structures
        # The mask of a healthy image is all 0; other values may be a shape that was lost.
        largest = int(np.asarray(drawing.convert("L")).max())
        return [f"{entry.mask}: empty but for values up to {largest}"] if largest else []


def _deal(entries: Sequence[FileEntry], seed: int) -> dict[str, list[FileEntry]]:
    """Entries of each split, in the order of their names; patients stay together."""
    owners = _owners(entries)
    patients = list(dict.fromkeys(owners))
    order = torch.randperm(len(patients), generator=generator(seed, "pairs")).tolist()
    test, val = (max(1, round(part * len(patients))) for part in (_TEST, _VALIDATION))
    numbers = {"test": order[:test], "val": order[test : test + val], "train": order[test + val :]}
    chosen = {split: {patients[number] for number in some} for split, some in numbers.items()}
    return {
        split: [entry for entry, owner in zip(entries, owners, strict=True) if owner in some]
        for split, some in chosen.items()
    }


def _owners(entries: Sequence[FileEntry]) -> list[str]:
    """Patient of each image by its name; the image itself if there are too few patients."""
    owners = [patient_or_name(entry.image_name) for entry in entries]
    if len(set(owners)) >= len(SPLITS):
        return owners
    warnings.warn(
        f"By their names all images are of {', '.join(sorted(set(owners)))}, too few to deal to "
        f"{', '.join(SPLITS)}: they are dealt one by one, so that what is learnt from a patient is "
        "tested on the same.",
        stacklevel=4,
    )
    return [entry.image_name for entry in entries]


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _such_as(paths: Iterable[Path]) -> str:
    first = next(iter(paths), None)
    return "" if first is None else f" such as {first.name}"
