"""Annotation files ``anns/<split>.json``, which list images with their masks and prompts."""

import json
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from palpate.data.problems import refuse
from palpate.data.reading.decode import read_ignored, read_pair, read_soft_mask
from palpate.data.reading.files import naming, opened
from palpate.data.reading.mask_values import BINARY, MaskRule, structures_of
from palpate.data.reading.masks import count_values

SPLITS = ("train", "val", "test")
ALL_SPLITS = "all"  # the samples of all splits together

# The published CAMUS layout has a folder per split, and validation reads the training folder.
_SUBFOLDERS = {"train": ("", "train"), "val": ("", "val", "train"), "test": ("", "test")}


@dataclass(frozen=True)
class FileEntry:
    """One image with one mask and its prompts, as listed in an annotation file.

    Attributes:
        image_name: Name of the image in the annotation file.
        mask_name: Name of the mask in the annotation file.
        image: Path of the image.
        mask: Path of the mask.
        prompts: Texts by level; a level may have several phrasings.
        group: Patient; None to derive it from the name of the image.
        structure: Structure that the mask outlines; None to derive it from the name of the mask.
        facts: Other metadata, such as view or pathology.
        rule: How the values of the mask are read; by default it is binary.
    """

    image_name: str
    mask_name: str
    image: Path
    mask: Path
    prompts: dict[str, tuple[str, ...]]
    group: str | None = None
    structure: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    rule: MaskRule = BINARY

    def __repr__(self) -> str:
        return f"<FileEntry {self.key!r}, prompts: {', '.join(self.prompts)}>"

    @property
    def key(self) -> str:
        """Name of the mask without extension: unique where several masks share an image.

        >>> FileEntry("a.png", "mask_1/a_gt.png", Path(), Path(), {}).key
        'mask_1/a_gt'
        """
        return str(PurePosixPath(self.mask_name).with_suffix(""))

    @property
    def dataset(self) -> str | None:
        """Source data set of an entry of a combined set (fact ``set``); None otherwise."""
        return self.facts.get("set")

    def read(self, size: int | None) -> tuple[Float[Tensor, "3 h w"], Bool[Tensor, "1 h w"]]:
        """The image in [0, 1] and its mask, see :func:`palpate.data.reading.decode.read_pair`."""
        return read_pair(self.image, self.mask, size, self.rule)

    def read_ignored(self, size: int | None) -> Bool[Tensor, "1 h w"] | None:
        """Ignored pixels, see :func:`palpate.data.reading.decode.read_ignored`."""
        return read_ignored(self.image, self.mask, size, self.rule)

    def count_values(self) -> Counter[str]:
        """Number of pixels of each value of the mask file."""
        with opened(self.mask) as drawing, naming(self.mask):
            return count_values(drawing)

    def read_soft_mask(self, size: int | None) -> Float[Tensor, "1 h w"]:
        """The mask with its grey values, see :func:`palpate.data.reading.decode.read_soft_mask`."""
        return read_soft_mask(self.image, self.mask, size, self.rule)


def check_split(split: str) -> None:
    """Raise an error for an unknown split.

    Raises:
        ValueError: If the split is not ``train``, ``val``, ``test`` or ``all``.
    """
    known = (*SPLITS, ALL_SPLITS)
    if split not in known:
        raise ValueError(f"Expected a split among {', '.join(known)}, got {split!r}.")


def check_limit(limit: int | None) -> None:
    """Raise an error for a limit below 1; None means no limit.

    Raises:
        ValueError: If the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"Expected limit >= 1, got {limit}.")


def annotation_file(folder: Path, split: str, annotations: str = "") -> Path:
    """Path of the annotation file of a split.

    Args:
        folder: Folder of the data set.
        split: ``train``, ``val`` or ``test``.
        annotations: Folder below ``anns/`` with another division of the same data into splits;
            empty for ``anns/`` itself.

    Raises:
        ValueError: If the split is unknown, or ``annotations`` leads outside ``anns/``.
        FileNotFoundError: If the folder has no annotations, or none of this split.
    """
    check_split(split)
    path = _lists(folder, annotations) / f"{split}.json"
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in path.parent.glob("*.json"))) or "none"
        raise FileNotFoundError(
            f"Expected the annotations of split {split!r} in {path}, which is not there "
            f"(annotation files there: {there}). Choose another split or write that file."
        )
    return path


def _lists(folder: Path, annotations: str) -> Path:
    """Folder of the annotation files."""
    if _leaves_folder(annotations):
        raise ValueError(f"Expected annotations to name a folder below anns/, got {annotations!r}.")
    return folder / "anns" / annotations


def read_entries(folder: Path, split: str, annotations: str = "") -> tuple[FileEntry, ...]:
    """Read the entries of a split in the order of the file, without repetitions.

    Args:
        folder: Has ``images/``, ``masks/`` and ``anns/``. A file that is missing in ``images/`` is
            also looked for in ``images/<split>/`` (for ``val`` in ``images/train/`` too), and
            masks likewise, since CAMUS was published in that layout.
        split: ``train``, ``val`` or ``test``; ``all`` for those of them that are there.
        annotations: Folder below ``anns/`` with another division of the same data into splits;
            empty for ``anns/`` itself.

    Returns:
        The entries. A warning is issued if the file repeats some.

    Raises:
        ValueError: If an entry lacks a field of :class:`FileEntry` or names a file outside
            ``folder``, if the file is empty, or if two different entries have the same key.
        FileNotFoundError: If the annotations are missing.
    """
    if split == ALL_SPLITS:
        lists = _lists(folder, annotations)
        there = [one for one in SPLITS if (lists / f"{one}.json").is_file()]
        parts = [read_entries(folder, one, annotations) for one in there or SPLITS]
        return _unique([entry for part in parts for entry in part], lists)
    path = annotation_file(folder, split, annotations)
    return entries_of(read_records(path), folder, split, path)


def entries_of(records: list[Any], folder: Path, split: str, path: Path) -> tuple[FileEntry, ...]:
    """Check the records of an annotation file and convert them to entries.

    Args:
        records: Elements of the list in the file.
        folder: Folder of the data set.
        split: ``train``, ``val`` or ``test``.
        path: The annotation file, for errors.

    Raises:
        ValueError: As for :func:`read_entries`; all faults are listed.
    """
    if not records:
        raise ValueError(f"Expected at least one entry in {path}, got an empty list.")
    problems = [text for i, record in enumerate(records) for text in _faults(i, record)]
    refuse(problems, f"{path} has entries that palpate cannot use")
    entries = [_entry(folder, split, record) for record in records]
    return _unique(entries, path)


def examine_entries(folder: Path, split: str) -> tuple[list[FileEntry], list[str]]:
    """Read the usable entries of a split, repetitions included, and list the faults of the others.

    Raises:
        ValueError: If the file as a whole cannot be used.
        FileNotFoundError: If the annotations are missing.
    """
    entries, faults = [], []
    for index, record in enumerate(read_records(annotation_file(folder, split))):
        found = _faults(index, record)
        faults += found
        if not found:
            entries.append(_entry(folder, split, record))
    return entries, faults


def read_records(path: Path) -> list[Any]:
    """Read the list in a JSON file without checking its elements.

    Raises:
        ValueError: If the file is not JSON, not UTF-8 or not a list.
    """
    try:  # utf-8-sig, since editors on Windows may write a byte order mark
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"Expected JSON in {path}, but line {error.lineno}, column {error.colno} breaks it "
            f"({error.msg}). Repair that line."
        ) from error
    except RecursionError as error:
        raise ValueError(f"Expected a list of entries in {path}, got endless nesting.") from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected UTF-8 text in {path}, got {error}. Save it as UTF-8."
        ) from error
    if not isinstance(records, list):
        raise ValueError(f"Expected a list of entries in {path}, got {type(records).__name__}.")
    return records


def _faults(index: int, record: Any) -> list[str]:
    """Faults of one record; all are collected, so that a user can repair them in one pass."""
    where = f"entry {index}"
    if not isinstance(record, dict):
        return [f"{where}: expected an object, got {type(record).__name__}"]
    faults = []
    for each in ("img_name", "mask_name"):
        name = record.get(each)
        if not isinstance(name, str) or not PurePosixPath(name).name:
            faults.append(f"{where}: expected a file name in {each!r}, got {name!r}")
        elif _leaves_folder(name):
            faults.append(f"{where}: {each} {name!r} leads outside the data folder; rename it")
    if not are_prompts(record.get("prompts")):
        faults.append(
            f"{where}: expected 'prompts' with a text or a list of texts per level (p0, p1, ...), "
            f"got {str(record.get('prompts'))[:60]}"
        )
    return faults + _faults_of_ours(where, record)


def _faults_of_ours(where: str, record: dict[str, Any]) -> list[str]:
    """Faults of the optional fields, which palpate adds to the published format."""
    faults = [
        f"{where}: expected a text in {each!r}, got {record[each]!r}"
        for each in ("group", "structure")
        if each in record and not (isinstance(record[each], str) and record[each])
    ]
    facts = record.get("facts", {})
    if not isinstance(facts, dict) or not all(isinstance(v, str) for v in facts.values()):
        faults.append(f"{where}: expected 'facts' with a text each, got {str(facts)[:60]}")
    try:
        _rule(record)
    except (ValueError, TypeError) as error:
        faults.append(f"{where}: {error}")
    return faults


def _rule(record: dict[str, Any]) -> MaskRule:
    """How the mask of a record is read, by its optional fields ``values`` and ``ignore``."""
    some = structures_of(record.get("values"), record.get("ignore"))
    if len(some) > 1 or some[0].name:
        raise ValueError(
            f"expected a list of values in 'values', got {str(record['values'])[:60]}; write an "
            "entry for each structure"
        )
    return some[0].rule


def are_prompts(prompts: Any) -> bool:
    """Whether a value maps at least one level to a text or a non-empty list of phrasings."""
    if not isinstance(prompts, dict) or not prompts:
        return False
    return all(
        isinstance(value, str)
        or (isinstance(value, list) and value and all(isinstance(text, str) for text in value))
        for value in prompts.values()
    )


def _leaves_folder(name: str) -> bool:
    """Whether a name refers to a file outside the folder that it is relative to."""
    # The rules of Windows apply on every system, so that a valid data set is valid everywhere.
    windows = PureWindowsPath(name)
    return bool(windows.drive or windows.root) or ".." in windows.parts or name.startswith("/")


def _entry(folder: Path, split: str, record: dict[str, Any]) -> FileEntry:
    prompts = {
        level: (value,) if isinstance(value, str) else tuple(value)
        for level, value in sorted(record["prompts"].items(), key=_by_number)
    }
    image_name, mask_name = record["img_name"], record["mask_name"]
    image = _locate(folder / "images", split, image_name)
    mask = _locate(folder / "masks", split, mask_name)
    ours = {name: record[name] for name in ("group", "structure", "facts") if name in record}
    return FileEntry(image_name, mask_name, image, mask, prompts, **ours, rule=_rule(record))


def _by_number(item: tuple[str, object]) -> tuple[int, str]:
    return len(item[0]), item[0]  # sorts p2 before p10


def _locate(folder: Path, split: str, name: str) -> Path:
    """Path of a file in the first subfolder that has it; if none has it, where it should be."""
    candidates = [folder / subfolder / name for subfolder in _SUBFOLDERS[split]]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _unique(entries: Sequence[FileEntry], path: Path) -> tuple[FileEntry, ...]:
    """The entries without repetitions; different entries with the same key are an error."""
    by_key: dict[str, FileEntry] = {}
    clashes, repeated = [], Counter[str]()
    for entry in entries:
        first = by_key.setdefault(entry.key, entry)
        if first is entry:
            continue
        if first == entry:
            repeated[entry.key] += 1
        else:
            clashes.append(f"{entry.key}: {first.image_name} and {entry.image_name}")
    refuse(clashes, f"{path} gives the same key (mask name without extension) to different entries")
    if repeated:
        warnings.warn(
            f"{path} lists {len(repeated)} entries more than once, such as "
            f"{next(iter(repeated))!r}; each is kept once.",
            stacklevel=5,
        )
    return tuple(by_key.values())
