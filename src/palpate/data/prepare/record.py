"""Records of prepared items: ``dataset.json``, and a journal while a process is running."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, final

from filelock import FileLock, Timeout

from palpate.atomic import write_text

SUMMARY, _JOURNAL, _LOCK = "dataset.json", ".prepared.jsonl", ".lock"
_OPTIONS = "options"


@dataclass(frozen=True)
class Record:
    """A mask with its image, as written to disk.

    Attributes:
        mask_name: Name of the mask, which identifies the record.
        recipe: Hash of everything except file contents that determines the output.
        members: SHA-256 of the source files, by name.
        files: SHA-256 of the written files, by name.
        entry: Entry in the annotations.
        area: Fraction of the image that the mask covers.
    """

    mask_name: str
    recipe: str
    members: Mapping[str, str]
    files: Mapping[str, str]
    entry: Mapping[str, Any]
    area: float


@final
@dataclass(frozen=True)
class Ledger:
    """Records of a folder; made by :func:`open_ledger`.

    Attributes:
        folder: Folder of the prepared data set.
        before: Records of earlier runs by mask name; their files may have changed since then.
        options: Options of the earlier run; None if there was none, or it did not write them.
    """

    folder: Path
    before: Mapping[str, Record]
    options: Mapping[str, str] | None = None
    _lock: Lock = field(default_factory=Lock)

    @property
    def is_finished(self) -> bool:
        """Whether an earlier run wrote the whole data set."""
        return (self.folder / SUMMARY).is_file()

    def begin(self, options: Mapping[str, str]) -> None:
        """Write the options of this run to the journal, for the errors of a later one."""
        with (self.folder / _JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(json.dumps({_OPTIONS: dict(options)}) + "\n")

    def add(self, records: Sequence[Record]) -> None:
        """Append records to the journal, so that an interrupted run can resume; thread-safe."""
        lines = "".join(json.dumps(asdict(record)) + "\n" for record in records)
        with self._lock, (self.folder / _JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(lines)

    def finish(self, summary: Mapping[str, Any], records: Sequence[Record]) -> None:
        """Write ``dataset.json`` and delete the journal."""
        write_json(
            self.folder / SUMMARY, {**summary, "records": [asdict(each) for each in records]}
        )
        (self.folder / _JOURNAL).unlink(missing_ok=True)


@contextmanager
def open_ledger(folder: Path, name: str) -> Iterator[Ledger]:
    """Create or reopen the folder of a prepared data set, and lock it for this process.

    Args:
        folder: Folder of the data set.
        name: Name of the data set.

    Raises:
        FileExistsError: If the folder contains a data set that palpate did not prepare.
        PermissionError: If the folder is not writable.
        RuntimeError: If another process is preparing it.
        ValueError: If it contains another data set, or its ``dataset.json`` is damaged.
    """
    _make(folder)
    summary, journal = folder / SUMMARY, folder / _JOURNAL
    foreign = (folder / "anns").exists() and not (summary.exists() or journal.exists())
    if foreign:
        raise FileExistsError(
            f"Expected a new folder or one that palpate has prepared, got a data set in {folder} "
            f"without {SUMMARY}. Choose another --out, or move that folder away."
        )
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RuntimeError(
            f"Another process is preparing {folder}. Wait for it, or choose another --out."
        ) from None
    try:
        records = _read(summary, name) | _read_journal(journal)
        yield Ledger(folder, records, _read_options(summary, journal))
    finally:
        lock.release()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _LOCK).touch()
    except OSError as error:
        raise PermissionError(
            f"Expected a folder that can be written, got {folder} ({error.strerror}). Choose "
            "another --out."
        ) from error


def write_json(path: Path, values: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def _read(path: Path, name: str) -> dict[str, Record]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        there, records = content["name"], [Record(**record) for record in content["records"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"Expected what palpate wrote in {path}, but it cannot be read ({error!r}). Delete "
            "that file's folder, and prepare it again."
        ) from error
    if there != name:
        raise ValueError(f"Expected {name} in {path.parent}, got {there}. Choose another --out.")
    return {record.mask_name: record for record in records}


def _read_journal(path: Path) -> dict[str, Record]:
    if not path.is_file():
        return {}
    records = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = Record(**json.loads(line))
        except (ValueError, TypeError):  # incomplete line of an interrupted run
            continue
        records[record.mask_name] = record
    return records


def _read_options(summary: Path, journal: Path) -> Mapping[str, str] | None:
    """Options of the last run: those in the journal of one that did not finish, or the summary."""
    texts = [summary.read_text(encoding="utf-8")] if summary.is_file() else []
    if journal.is_file():
        texts += journal.read_text(encoding="utf-8", errors="replace").splitlines()
    found = None
    for text in texts:
        try:
            found = json.loads(text).get(_OPTIONS, found)
        except ValueError:  # incomplete line of an interrupted run
            continue
    return found
