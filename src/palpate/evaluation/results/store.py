"""Stores rows on disk, in parts that are written during the evaluation.

A store is a folder of ``part-*.parquet`` files, each written atomically, and one
``protocol.json`` with the fingerprint of the rows. A process may be killed at any moment: only the
rows not yet flushed are lost, and the next call computes them. Several processes may write to one
folder.
"""

import json
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from uuid import uuid4

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from palpate.atomic import replacing, write_text
from palpate.evaluation.metrics import Metrics, find_metrics
from palpate.evaluation.results.fingerprint import Fingerprint, describe_differences, differences
from palpate.evaluation.results.rows import (
    Identity,
    Row,
    completed,
    identities,
    schema_of,
    to_frame,
    to_table,
    wrong_columns,
)
from palpate.version import release

PROTOCOL_FILE = "protocol.json"
_LOCK = f".{PROTOCOL_FILE}.lock"
STORE_RECORDS = (PROTOCOL_FILE, _LOCK)  # files that are there before the first row
_MADE_OF, _RELEASE = b"palpate", b"palpate.release"  # keys in the metadata of a part


class DamagedPartError(ValueError):
    """Raised if a part of a row store cannot be read, because it is truncated or overwritten."""


class OtherRowsError(ValueError):
    """Raised if a folder holds rows of another evaluation.

    Attributes:
        differing: In what they differ, as text.
    """

    def __init__(self, folder: Path, differing: str) -> None:
        super().__init__(
            f"{folder} holds rows of another evaluation: they differ in {differing}. Choose "
            "another --out or delete that folder; nothing was changed."
        )
        self.differing = differing


class RowStore:
    """A folder of rows, open for writing.

    Use it as a context manager: on exit, also after an error, it writes the rows held in memory.

    A part that cannot be read is renamed with a warning, and its rows count as missing. Rows of
    another version of palpate are kept and extended, with a warning.

    Args:
        folder: Folder of the store; created if missing.
        fingerprint: What the rows depend on; see :mod:`palpate.evaluation.results.fingerprint`.
        metrics: Metrics whose scores the rows hold; None: the default metrics.
        flush_rows: Number of rows held in memory before they are written.
        flush_seconds: Time in seconds after which rows are written, however few.

    Raises:
        ValueError: If the folder holds rows with another fingerprint or in another format.
        OSError: If the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path | str,
        fingerprint: Fingerprint,
        *,
        metrics: Metrics | None = None,
        flush_rows: int = 1000,
        flush_seconds: float = 20.0,
    ) -> None:
        self.folder, self.metrics = Path(folder), find_metrics(metrics)
        schema_of(self.metrics)  # refuses names that are taken before anything is written
        self.flush_rows, self.flush_seconds = flush_rows, flush_seconds
        _make_writable(self.folder)
        self.fingerprint = _claim(self.folder, fingerprint)
        _set_damaged_parts_aside(self.folder)
        _warn_of_other_releases(self.folder)
        self._held: list[Row] = []
        self._done = {i for table in _tables(self.folder) for i in identities(table)}
        self._done_whatever_prompt = {i._replace(prompt=None) for i in self._done}
        self._flushed_at = time.monotonic()

    def __len__(self) -> int:
        return len(self._done)

    def done(self, identity: Identity) -> bool:
        """Whether this row exists, added by this or an earlier process.

        Args:
            identity: Identity of the row; a prompt of None matches any prompt.
        """
        return identity in (self._done_whatever_prompt if identity.prompt is None else self._done)

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows; rows added in one call are written to one file, so all or none are stored."""
        new = [row for row in rows if row.identity not in self._done]
        self._held.extend(new)
        for row in new:
            self._done.add(row.identity)
            self._done_whatever_prompt.add(row.identity._replace(prompt=None))
        waited = time.monotonic() - self._flushed_at
        if len(self._held) >= self.flush_rows or waited >= self.flush_seconds:
            self.flush()

    def flush(self) -> None:
        """Write the rows held in memory to a new part."""
        if self._held:
            # The time comes first, so that parts sort by age even if several processes write.
            name = f"part-{time.time_ns():020d}-{uuid4().hex[:8]}.parquet"
            table = to_table(self._held, self.metrics)
            table = table.replace_schema_metadata(_as_metadata(self.fingerprint))
            with replacing(self.folder / name) as temporary:
                pq.write_table(table, temporary)
            self._held.clear()
        self._flushed_at = time.monotonic()

    def __enter__(self) -> "RowStore":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.flush()


def read_rows(folder: Path | str) -> pd.DataFrame:
    """Read all rows of a store, sorted by identity and without duplicates.

    Raises:
        FileNotFoundError: If the folder is not a store.
        ValueError: If a part is damaged or does not belong to the store. Skipping it would give a
            table with unnoticed gaps.
    """
    return to_frame(_tables(Path(folder)))


def read_every_row(folder: Path | str) -> pd.DataFrame:
    """Read the rows of a store as they stand in its files, repeated ones included.

    Raises:
        FileNotFoundError, ValueError: As :func:`read_rows`.
    """
    parts = [to_frame([table], unique=False) for table in _tables(Path(folder))]
    return pd.concat(parts, ignore_index=True) if parts else to_frame([])


def releases(folder: Path | str) -> list[str]:
    """The versions of palpate that wrote the rows of a store, in order of their names."""
    metadata = (pq.read_schema(path).metadata or {} for path in _parts(Path(folder)))
    return sorted({found[_RELEASE].decode() for found in metadata if _RELEASE in found})


def read_fingerprint(folder: Path | str) -> dict[str, str]:
    """Read the fingerprint of a store.

    Raises:
        FileNotFoundError: If the folder is not a store.
        ValueError: If the file of the fingerprint is damaged.
    """
    path = Path(folder) / PROTOCOL_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a folder of rows with a {PROTOCOL_FILE}, found none in {folder}. "
            "Name the folder that an evaluation wrote to, e.g. runs/kvasir/rows."
        )
    try:
        stored: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}), so what the rows beside it are made of is unknown. "
            "Restore the file, or evaluate into another folder."
        ) from error
    return stored


def merge_rows(folders: Sequence[Path | str]) -> pd.DataFrame:
    """Combine the rows of several stores in one table.

    Args:
        folders: Folders of the stores, at least one.

    Returns:
        The rows, sorted by identity and without duplicates.

    Raises:
        ValueError: If the stores differ in protocol, weights, data or settings.
    """
    if not folders:
        raise ValueError("Expected at least one folder of rows to merge, got none.")
    first, merged = folders[0], read_fingerprint(folders[0])
    for other in folders[1:]:
        theirs = read_fingerprint(other)
        if differing := differences(merged, theirs):
            raise ValueError(
                f"The rows of {first} and {other} cannot stand in one table: they differ in "
                f"{describe_differences(differing)}. Report them apart, or evaluate again alike."
            )
        merged |= theirs
    return to_frame(table for folder in folders for table in _tables(Path(folder)))


def _make_writable(folder: Path) -> None:
    probe = folder / f".probe-{uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise type(error)(
            f"Rows cannot be written to {folder} ({error.strerror}). Choose another --out."
        ) from error


def _claim(folder: Path, fingerprint: Fingerprint) -> dict[str, str]:
    """Write the fingerprint, or check it against the existing one; return the merged one."""
    # The lock keeps two processes from overwriting each other's additions.
    with FileLock(folder / _LOCK):
        return _claimed(folder, fingerprint)


def _claimed(folder: Path, fingerprint: Fingerprint) -> dict[str, str]:
    path = folder / PROTOCOL_FILE
    stored = read_fingerprint(folder) if path.exists() else {}
    if not stored and any(_parts(folder)):
        raise ValueError(
            f"{folder} holds rows but no {PROTOCOL_FILE} that says what they are made of. "
            "Choose another --out, or put that file back."
        )
    if stored and (differing := differences(fingerprint, stored)):
        raise OtherRowsError(folder, describe_differences(differing))
    merged = stored | dict(fingerprint)
    if merged != stored:
        write_text(path, json.dumps(merged, indent=2, sort_keys=True))
    return merged


def _set_damaged_parts_aside(folder: Path) -> None:
    for path in _parts(folder):
        try:
            _read_part(path)
        except DamagedPartError as error:
            path.replace(path.with_name(f"{path.name}.damaged"))
            warnings.warn(f"{error} This was done now.", stacklevel=3)


def _warn_of_other_releases(folder: Path) -> None:
    """Warn if existing rows were written by another version of palpate.

    They are not refused, because most new versions do not change results.
    """
    if others := [made_by for made_by in releases(folder) if made_by != release()]:
        warnings.warn(
            f"{folder} holds rows of palpate {', '.join(others)}, and those of palpate {release()} "
            "are added to them. Look in CHANGELOG.md whether numbers changed in between; if so, "
            "choose another --out or delete that folder.",
            stacklevel=3,
        )


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def _tables(folder: Path) -> Iterator[pa.Table]:
    fingerprint = read_fingerprint(folder)
    for path in _parts(folder):
        table = _read_part(path)
        differing = differences(fingerprint, _from_metadata(table))
        if differing:
            raise ValueError(
                f"{path} was not written for this folder: it differs from {PROTOCOL_FILE} in "
                f"{describe_differences(differing)}. Move that file away."
            )
        yield table.replace_schema_metadata(None)


def _read_part(path: Path) -> pa.Table:
    try:
        table = completed(pq.read_table(path))
    except PermissionError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise DamagedPartError(
            f"{path} is damaged ({error}). Run the evaluation again with the same --out: it "
            "renames the file to *.damaged and computes its rows again."
        ) from error
    if wrong := wrong_columns(table.schema):
        made_by = (table.schema.metadata or {}).get(_RELEASE, b"").decode()
        if made_by not in ("", release()):
            raise ValueError(
                f"{path} holds rows of palpate {made_by}, whose columns palpate {release()} does "
                f"not know ({', '.join(wrong)}); open it with palpate {made_by}."
            )
        raise ValueError(
            f"{path} does not hold the columns of a row: {wrong} differ. "
            "It is foreign or from another version of palpate; move it away."
        )
    return table


def _as_metadata(fingerprint: Fingerprint) -> dict[bytes, bytes]:
    described = json.dumps(fingerprint, sort_keys=True)
    return {_MADE_OF: described.encode(), _RELEASE: release().encode()}


def _from_metadata(table: pa.Table) -> dict[str, str]:
    found: dict[str, str] = json.loads((table.schema.metadata or {}).get(_MADE_OF, b"{}"))
    return found
