"""Annotations of a data folder, with functions to change their prompts."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, final

from palpate.data.annotations import SPLITS, FileEntry, annotation_file, entries_of, read_records
from palpate.data.dataset import DatasetSpec
from palpate.data.prepare.record import SUMMARY, write_json
from palpate.data.sources.registry import DATASETS

Prompts: TypeAlias = Mapping[str, str | list[str]]
_ORIGINAL = "anns-original"
_NO_TEXT = {"p0": ""}  # for entries without prompts, until these are written


@final
@dataclass(frozen=True)
class AnnotatedFolder:
    """A folder with ``images/``, ``masks/`` and ``anns/``; made by :func:`open_folder`.

    Attributes:
        folder: Path of the folder.
        records: JSON records of each annotation file, by split.
        entries: Checked entries of each annotation file, without repetitions, by split.
    """

    folder: Path
    records: Mapping[str, list[dict[str, Any]]]
    entries: Mapping[str, tuple[FileEntry, ...]]

    @property
    def dataset(self) -> str:
        """Name of the data set from ``dataset.json`` or the folder's name; else ``folder``."""
        named = _summary(self.folder).get("name")
        by_folder = (spec.name for spec in DATASETS.values() if spec.folder == _name(self.folder))
        return named if isinstance(named, str) else next(by_folder, "folder")

    @property
    def all_entries(self) -> Iterator[tuple[str, FileEntry]]:
        """Every entry with its split."""
        for split, entries in self.entries.items():
            for entry in entries:
                yield split, entry

    def structure_of(self, entry: FileEntry, dataset: str) -> str:
        """Structure of a mask: as annotated, or else derived from the name of the mask.

        Args:
            entry: The entry of the mask.
            dataset: Name of the data set, which determines how mask names are read.
        """
        spec: DatasetSpec = DATASETS.get(dataset, DATASETS["folder"])
        return entry.structure or spec.structure(entry.mask_name)

    def put_prompts(self, prompts: Mapping[tuple[str, str], Prompts]) -> None:
        """Write new prompts; each file is replaced atomically and keeps all other fields.

        Annotations that palpate did not prepare, and therefore could not restore, are first copied
        to ``anns-original/``.

        Args:
            prompts: New prompts by split and mask name; other entries keep theirs.
        """
        self._keep_original()
        for split, records in self.records.items():
            for record in records:
                new = prompts.get((split, record["mask_name"]))
                record["prompts"] = record["prompts"] if new is None else dict(new)
            write_json(annotation_file(self.folder, split), records)
        self._put_into_summary()

    def _keep_original(self) -> None:
        kept = self.folder / _ORIGINAL
        if (self.folder / SUMMARY).is_file() or kept.exists():
            return
        # palpate.atomic writes single files. Renaming makes the whole folder appear in one step;
        # the remains of an interrupted copy are replaced.
        partial = self.folder / f"{_ORIGINAL}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(self.folder / "anns", partial)
        partial.replace(kept)

    def _put_into_summary(self) -> None:
        # Otherwise a later `data prepare` would restore the previous prompts.
        summary = _summary(self.folder)
        known = {r["mask_name"]: r["prompts"] for part in self.records.values() for r in part}
        entries = [record["entry"] for record in summary.get("records", ())]
        for entry in entries:
            entry["prompts"] = known.get(entry["mask_name"], entry["prompts"])
        if entries:
            write_json(self.folder / SUMMARY, summary)


def open_folder(folder: Path) -> AnnotatedFolder:
    """Read all annotations of a folder; entries may lack prompts.

    Args:
        folder: Has ``images/``, ``masks/`` and ``anns/``.

    Raises:
        FileNotFoundError: If there are no annotations.
        ValueError: If a file is invalid, see :func:`palpate.data.annotations.read_entries`.
    """
    paths = {split: folder / "anns" / f"{split}.json" for split in SPLITS}
    there = [split for split, path in paths.items() if path.is_file()]
    records = {split: read_records(annotation_file(folder, split)) for split in there or SPLITS}
    for record in (each for part in records.values() for each in part):
        if isinstance(record, dict):
            record.setdefault("prompts", dict(_NO_TEXT))
    found = {split: part for split, part in records.items() if part}
    return AnnotatedFolder(
        folder,
        found,
        {split: entries_of(part, folder, split, paths[split]) for split, part in found.items()},
    )


def _summary(folder: Path) -> dict[str, Any]:
    path = folder / SUMMARY
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"Expected what palpate wrote in {path}, but it cannot be read ({error}). Prepare the "
            "data set again, or remove that file."
        ) from error
    return found if isinstance(found, dict) else {}


def _name(folder: Path) -> str:
    return folder.resolve().name
