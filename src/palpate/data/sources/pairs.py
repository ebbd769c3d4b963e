"""Data sets from a folder of images and a folder of masks, with one prompt for all."""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from palpate.data.annotations import SPLITS, FileEntry, check_limit, check_split
from palpate.data.check import check_files
from palpate.data.dataset import DatasetSpec, PromptedDataset
from palpate.data.patients import patient_or_name
from palpate.data.problems import refuse
from palpate.data.prompt_policy import PromptPolicy
from palpate.data.reading.decode import foreground
from palpate.data.reading.files import naming, opened
from palpate.data.reading.mask_values import Values, structures_of
from palpate.data.sources.registry import always
from palpate.data.structures import only_present, prompt_of, structures_shown
from palpate.randomness import generator

PAIRS = "pairs"

# Suffixes of mask names in published data sets.
_MASK_ENDINGS = ("_mask", "_segmentation", "_seg", "_gt", "_label", "-mask", "-gt", "-label")
_VALIDATION, _TEST = 0.2, 0.3  # fractions of the patients; the rest is for training
_LEVEL = "p1"
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
) -> PromptedDataset:
    """Load images and masks that are paired by their file names.

    A mask has the name of its image, with any extension, or that name followed by ``_mask``,
    ``_segmentation``, ``_seg``, ``_gt`` or ``_label``. The seed assigns pairs to splits: 20 % to
    validation and 30 % to test, at least one each. Images whose names have the same number after
    ``patient``, ``subject``, ``sub``, ``pat`` or ``case`` stay in one split. If file names do not
    identify patients, write annotations and use ``load_data("folder")``.

    Args:
        images: Folder of images.
        masks: Folder of masks; may be the same folder if masks have one of these endings.
        prompt: Text for every image; not needed if ``values`` names the structures. In it,
            ``{structure}`` stands for the name.
        split: ``train``, ``val`` or ``test``.
        size: Side of the square that images and masks are resized to, in pixels; by default each
            keeps its own size.
        seed: Seed of the assignment to splits.
        limit: Use only the first ``limit`` pairs of the split.
        values: What the values of the masks mean, if these are not binary: ``127`` or ``[1, 2]``
            for one structure, ``{255: "tumour", 127: "liver"}`` for several, each of which becomes
            a sample of its own. A value is a grey value, a palette index, a colour (``"#ff0000"``)
            or a brightness and all above it (``">=128"``).
        ignore: Values of pixels that count in no loss, attack or metric, such as ``255``.

    Returns:
        The data set; its images are read when a sample is indexed.

    Raises:
        FileNotFoundError: If a folder is missing, or fewer than three images have a mask.
        ValueError: If a file cannot be read, a mask is empty or differs from its image in size, or
            masks have more than two values and ``values`` does not say what they mean.
    """
    check_split(split)
    check_limit(limit)
    structures = structures_of(values, ignore)
    prompts = [prompt_of(each, prompt, several=len(structures) > 1) for each in structures]
    if None in prompts:
        raise ValueError("Expected a prompt that names what the masks outline, got an empty one.")
    pairs = _pairs(Path(images), Path(masks), str(prompts[0] if prompt is None else prompt))
    found = structures_shown(pairs, structures)
    found = only_present(found, check_files(found), structures)
    refuse(
        [fault for entry in found for fault in _faults(entry)],
        "Expected masks of the size of their images, with foreground",
        remedy="Export these masks again, or take these images out of the folder.",
    )
    chosen = _deal(found, seed)[split][:limit]
    return PromptedDataset(_SPEC, split, tuple(chosen), PromptPolicy(_LEVEL, seed=seed), size)


def _pairs(images: Path, masks: Path, prompt: str) -> list[FileEntry]:
    pictures, drawings = _pictures(images), _by_image(masks, exact=not _same(images, masks))
    pictures = [path for path in pictures if path not in drawings.values()]
    _refuse_namesakes(pictures)
    found = [
        FileEntry(path.name, mask.name, path, mask, {_LEVEL: (prompt,)})
        for path in pictures
        if (mask := drawings.get(path.stem)) is not None
    ]
    if len(found) < len(SPLITS):
        raise FileNotFoundError(
            f"Expected at least {len(SPLITS)} images in {images} with a mask of the same name in "
            f"{masks}, or of that name and one of {', '.join(_MASK_ENDINGS)}; found {len(found)} "
            f"among {len(pictures)} images{_such_as(pictures)} and {len(drawings)} masks"
            f"{_such_as(drawings.values())}. Name each mask after its image."
        )
    if len(found) < len(pictures):
        alone = [path for path in pictures if path.stem not in drawings]
        warnings.warn(
            f"{len(alone)} of {len(pictures)} images have no mask and are left out"
            f"{_such_as(alone)}.",
            stacklevel=3,
        )
    return found


def _pictures(folder: Path) -> list[Path]:
    """Image files of a folder, of any format that Pillow reads, sorted by name."""
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
    files = _pictures(folder)
    ended = {bare: path for path in files if (bare := without_ending(path.stem)) != path.stem}
    return ended | {path.stem: path for path in files if exact}


def without_ending(stem: str) -> str:
    """The name of an image, given the name of its mask.

    >>> without_ending("ISIC_0000000_Segmentation"), without_ending("cju0qkwl35piu")
    ('ISIC_0000000', 'cju0qkwl35piu')
    """
    ending = next((e for e in _MASK_ENDINGS if stem.lower().endswith(e)), "")
    return stem[: len(stem) - len(ending)]


def _refuse_namesakes(pictures: Sequence[Path]) -> None:
    counts = Counter(path.stem for path in pictures)
    refuse(
        [str(path) for path in pictures if counts[path.stem] > 1],
        "Expected images whose names differ in more than the extension, got",
        remedy="Rename them, or else one mask would belong to several.",
    )


def _faults(entry: FileEntry) -> list[str]:
    with opened(entry.image) as picture, opened(entry.mask) as drawing, naming(entry.mask):
        if sorted(picture.size) != sorted(drawing.size):
            sizes = "{}x{} pixels for an image of {}x{}".format(*drawing.size, *picture.size)
            return [f"{entry.mask}: {sizes}"]
        return [] if foreground(drawing, entry.rule).any() else [f"{entry.mask}: empty"]


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
