"""Survey of a data folder: annotations and file names, with faults reported as findings."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from palpate.data.annotations import SPLITS, FileEntry, examine_entries
from palpate.data.dataset import DatasetSpec
from palpate.data.integrity.finding import Finding
from palpate.data.reading.mask_values import MaskRule, Structure


@dataclass(frozen=True)
class Record:
    """An entry of an annotation file, with its split, group (patient) and structure."""

    split: str
    entry: FileEntry
    group: str
    structure: str


@dataclass(frozen=True)
class Survey:
    """Content of a data folder.

    Attributes:
        name: Name of the data set.
        folder: Contains ``images/``, ``masks/`` and ``anns/``.
        records: All usable entries of all splits, in order, repetitions included.
        images: Image files below ``images/``, with forward slashes.
        masks: Image files below ``masks/``, with forward slashes.
        findings: Problems of the annotation files.
    """

    name: str
    folder: Path
    records: tuple[Record, ...]
    images: tuple[str, ...]
    masks: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def has_images(self) -> bool:
        """Whether there are any images."""
        return bool(self.images)

    def of(self, split: str) -> list[Record]:
        """The records of one split."""
        return [record for record in self.records if record.split == split]


def survey(folder: Path, spec: DatasetSpec, structures: Sequence[Structure] = ()) -> Survey:
    """Read the annotations of all splits and list the files of a folder.

    Args:
        folder: Folder of the data set.
        spec: Derives group and structure from file names if the annotations do not name them.
        structures: Structures of masks that are not binary.

    Raises:
        FileNotFoundError: If there is no folder, or it has no annotations of any split.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"Expected a data folder, but {folder} is not there.")
    present = [split for split in SPLITS if (folder / "anns" / f"{split}.json").is_file()]
    if not present:
        raise FileNotFoundError(
            f"Expected anns/train.json, anns/val.json or anns/test.json in {folder}, found none. "
            "Name a folder in palpate's layout, or make one with `palpate data prepare`."
        )
    records: list[Record] = []
    findings = list(_absences(folder, present))
    for split in present:
        more, faults = _read(folder, split, spec)
        records += more
        findings += faults
    return Survey(
        spec.name,
        folder,
        tuple(_with_rule(record, structures) for record in records),
        _files(folder / "images"),
        _files(folder / "masks"),
        tuple(findings),
    )


def _with_rule(record: Record, structures: Sequence[Structure]) -> Record:
    """A record with the values of its structures, all in one rule since they share a file."""
    rules = [structure.rule for structure in structures]
    values = tuple(value for rule in rules for value in rule.values)
    if not structures or not (values or rules[0].ignore):
        return record
    names = ", ".join(structure.name for structure in structures)
    entry = replace(record.entry, rule=MaskRule(values, rules[0].ignore))
    return replace(record, entry=entry, structure=names or record.structure)


def _read(folder: Path, split: str, spec: DatasetSpec) -> tuple[list[Record], list[Finding]]:
    """Records of a split, and findings about its annotation file."""
    name = f"anns/{split}.json"
    try:
        entries, faults = examine_entries(folder, split)
    except (ValueError, OSError) as error:
        return [], [Finding("annotations", "error", str(error), (name,))]
    findings = []
    if not entries and not faults:
        findings.append(Finding("annotations", "note", f"{name} lists nothing.", (name,)))
    records = []
    for entry in entries:
        try:
            records.append(_record(split, entry, spec))
        except ValueError as error:
            faults.append(str(error))
    if faults:
        message = f"{len(faults)} entries of {name} cannot be used; repair or remove them."
        findings.append(Finding("annotations", "error", message, tuple(faults)))
    return records, findings


def _record(split: str, entry: FileEntry, spec: DatasetSpec) -> Record:
    """Record of an entry; annotated group and structure take precedence over file names."""
    group = getattr(entry, "group", None) or spec.group(entry.image_name)
    structure = getattr(entry, "structure", None) or spec.structure(entry.mask_name)
    return Record(split, entry, group, structure)


def _absences(folder: Path, present: list[str]) -> Iterator[Finding]:
    """Notes on splits that are missing, and on annotation files that are not splits."""
    absent = [split for split in SPLITS if split not in present]
    if absent:
        yield Finding("annotations", "note", f"There is no split {' and no '.join(absent)}.")
    for path in sorted((folder / "anns").glob("*.json")):
        if path.stem in SPLITS:
            continue
        twin = next((s for s in present if _same(path, folder / "anns" / f"{s}.json")), None)
        what = f"the same as {twin}.json" if twin else "not looked at"
        yield Finding(
            "annotations",
            "note",
            f"anns/{path.name} is no split of palpate's; {what}.",
            (f"anns/{path.name}",),
        )


def _same(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()


def _files(folder: Path) -> tuple[str, ...]:
    """Image files at any depth; links to folders are not followed, since they may be circular."""
    known = Image.registered_extensions()
    return tuple(
        sorted(
            (Path(parent) / name).relative_to(folder).as_posix()
            for parent, _, names in os.walk(folder)
            for name in names
            if Path(name).suffix.lower() in known and not name.startswith(".")
        )
    )
