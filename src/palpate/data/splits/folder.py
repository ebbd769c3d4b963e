"""New splits of a data folder: new annotation files below ``anns/``; images stay in place."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from palpate.data.annotations import SPLITS, FileEntry, annotation_file, read_entries
from palpate.data.dataset import DatasetSpec
from palpate.data.integrity.near_duplicates import near_pairs
from palpate.data.integrity.summaries import (
    Fault,
    ImageSummary,
    MaskSummary,
    summarise_images,
    summarise_masks,
)
from palpate.data.problems import refuse
from palpate.data.splits.deal import Item, deal, fold, splits_of_fold
from palpate.data.splits.published import published_split
from palpate.progress import Progress, silent
from palpate.version import release


@dataclass(frozen=True)
class Division:
    """How to split a data folder.

    Attributes:
        seed: Seed of the assignment.
        fractions: Fractions of train, val and test; not used with folds or a published split.
        folds: Number of folds for cross-validation, at least 3; each is the test split once.
        stratify: Fact of the annotations, such as ``pathology``, by which to stratify besides
            lesion size; empty for none.
        published: Use the published split, without its repetitions, instead of a random one.
    """

    seed: int = 0
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    folds: int | None = None
    stratify: str = ""
    published: bool = False


def split_folder(
    folder: Path,
    spec: DatasetSpec,
    division: Division,
    *,
    name: str,
    progress: Progress = silent,
) -> list[Path]:
    """Write ``anns/<name>/{train,val,test}.json``, or with folds ``anns/<name>/fold-<k>/...``.

    Duplicate and near-duplicate images stay together, like the images of one patient. Load the
    result with ``load_data(..., annotations=name)``.

    Args:
        folder: Folder of the data set; its images, masks and annotation files are not changed.
        spec: Properties of the data set.
        division: How to split.
        name: Name of the folder of the new annotation files.
        progress: Called for every file that is read.

    Returns:
        The folders written.

    Raises:
        FileExistsError: If a folder of that name exists.
        FileNotFoundError: If the data set has no annotations.
        ValueError: If the name is invalid, files cannot be read, or there are too few groups.
    """
    target = folder / "anns" / name
    if not name or target.parent != folder / "anns" or name in (".", ".."):
        raise ValueError(f"Expected the name of one folder below anns/, got {name!r}.")
    if target.exists():
        raise FileExistsError(f"{target} exists; choose another --name, or delete it.")
    entries, records = _everything(folder)
    turns = _turns(entries, spec, division, progress)
    # palpate.atomic writes single files. Renaming makes all lists appear in one step, since a fold
    # without its test list could be mistaken for a complete one.
    partial = target.with_name(f".{name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for turn, split_of in turns.items():
        _write(partial / turn, folder, entries, records, split_of)
    about = {"division": _plain(division), "made_from": spec.name, "palpate": release()}
    (partial / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    partial.replace(target)
    return [target / turn for turn in turns]


def _everything(folder: Path) -> tuple[list[FileEntry], dict[Path, dict[str, Any]]]:
    """All entries of all splits, each once, and their JSON records by the path of the mask."""
    entries: dict[Path, FileEntry] = {}
    records: dict[Path, dict[str, Any]] = {}
    for split in SPLITS:
        if not (folder / "anns" / f"{split}.json").is_file():
            continue
        text = annotation_file(folder, split).read_text(encoding="utf-8-sig")
        if not text.strip("[] \n"):
            continue
        mine = {entry.mask_name: entry for entry in read_entries(folder, split)}
        for record in json.loads(text):
            entry = mine[record["mask_name"]]
            entries.setdefault(entry.mask, entry)
            records.setdefault(entry.mask, record)
    if not entries:
        raise FileNotFoundError(f"Expected annotations of some split in {folder / 'anns'}.")
    return list(entries.values()), records


def _turns(
    entries: Sequence[FileEntry], spec: DatasetSpec, division: Division, progress: Progress
) -> dict[str, dict[str, str]]:
    """Split of each image, for each folder of annotation files to write (one per fold)."""
    if division.published:
        return {"": _published(entries, spec.name)}
    items = _items(entries, spec, division.stratify, progress)
    if division.folds is None:
        fractions = dict(zip(SPLITS, division.fractions, strict=True))
        return {"": deal(items, seed=division.seed, fractions=fractions)}
    folded = fold(items, seed=division.seed, folds=division.folds)
    return {f"fold-{k}": splits_of_fold(folded, k, division.folds) for k in range(division.folds)}


def _published(entries: Sequence[FileEntry], name: str) -> dict[str, str]:
    split_of = published_split(name).mended()
    images = {str(entry.image): Path(entry.image_name).name for entry in entries}
    refuse(
        [image for image in dict.fromkeys(images.values()) if image not in split_of],
        f"Expected images of the published split of {name}, got others",
        remedy="Draw a split by --seed, or rename the images as they were published.",
    )
    return {image: split_of[published] for image, published in images.items()}


def _items(
    entries: Sequence[FileEntry], spec: DatasetSpec, stratify: str, progress: Progress
) -> list[Item]:
    images = summarise_images((entry.image for entry in entries), progress)
    masks = summarise_masks(entries, progress)
    summaries: list[ImageSummary | MaskSummary | Fault] = [*images.values(), *masks.values()]
    refuse(
        [summary.message for summary in summaries if isinstance(summary, Fault)],
        "Expected readable images with fitting masks",
        remedy="Replace these files.",
    )
    of_image: dict[Path, list[FileEntry]] = {}
    for entry in entries:
        of_image.setdefault(entry.image, []).append(entry)
    items = []
    for path, some in of_image.items():
        shares = [summary.share for e in some if isinstance(summary := masks[e.mask], MaskSummary)]
        kind = str(some[0].facts.get(stratify, "")) if stratify else ""
        group = some[0].group or spec.group(some[0].image_name)
        # Images without foreground are a stratum of their own, so that every split gets some.
        kind = kind if any(shares) else f"{kind} empty"
        items.append(Item(str(path), group, float(np.mean(shares)), kind))
    return _together(
        items, {p: summary for p, summary in images.items() if isinstance(summary, ImageSummary)}
    )


def _together(items: Sequence[Item], summaries: Mapping[Path, ImageSummary]) -> list[Item]:
    """Merge the groups of items whose images are equal or near duplicates."""
    # Union-find over groups; the smaller name becomes the root, whatever the order of the pairs.
    parent = {item.group: item.group for item in items}

    def root(group: str) -> str:
        while parent[group] != group:
            group = parent[group]
        return group

    for one, other in _alike(items, summaries):
        first, second = sorted((root(one.group), root(other.group)))
        parent[second] = first
    return [replace(item, group=root(item.group)) for item in items]


def _alike(
    items: Sequence[Item], summaries: Mapping[Path, ImageSummary]
) -> list[tuple[Item, Item]]:
    """Pairs of items whose images are equal or near duplicates."""
    pairs: list[tuple[Item, Item]] = []
    first: dict[str, Item] = {}
    for item in items:
        pairs.append((first.setdefault(summaries[Path(item.name)].digest, item), item))
    low = [
        (item, summary.low)
        for item in items
        if (summary := summaries[Path(item.name)]).low is not None
    ]
    if len(low) > 1:
        near = near_pairs(np.stack([part for _, part in low if part is not None]))
        pairs += [(low[pair.first][0], low[pair.second][0]) for pair in near]
    return pairs


def _write(
    target: Path,
    folder: Path,
    entries: Sequence[FileEntry],
    records: Mapping[Path, dict[str, Any]],
    split_of: Mapping[str, str],
) -> None:
    """Write the annotation files of one division; names are paths below ``images/``, ``masks/``."""
    target.mkdir(parents=True)
    for split in SPLITS:
        lines = [
            records[entry.mask]
            | {
                "img_name": entry.image.relative_to(folder / "images").as_posix(),
                "mask_name": entry.mask.relative_to(folder / "masks").as_posix(),
            }
            for entry in entries
            if split_of[str(entry.image)] == split
        ]
        if lines:
            text = json.dumps(lines, indent=1, ensure_ascii=False) + "\n"
            (target / f"{split}.json").write_text(text, encoding="utf-8")


def _plain(division: Division) -> dict[str, Any]:
    """The settings of a division that had an effect, for ``about.json``."""
    if division.published:
        return {"published": True}
    unused = {"published", "fractions" if division.folds else "folds"}
    return {key: value for key, value in vars(division).items() if key not in unused}
