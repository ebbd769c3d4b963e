"""The run folder: one process at a time, one configuration for good."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from palpate.flat import flat
from palpate.pipeline.config import RunConfig, plain, read_config, write_config

# What may differ between two calls of the same run: it changes no number.
_FREE = (
    "out", "name", "model.device", "model.build.cache", "model.build.training.workers",
    "model.checkpoint", "data.root", "data.cache", "train.settings.workers",
    "evaluate.batch_size", "evaluate.workers", "evaluate.examples", "evaluate.sanity_samples",
)  # fmt: skip


@contextmanager
def open_folder(config: RunConfig) -> Iterator[Path]:
    """Make or reopen the run folder and keep every other process out of it.

    Raises:
        PermissionError: If it cannot be written.
        RuntimeError: If another process works in it.
        ValueError: If it holds a run with other settings; they are listed.
    """
    folder = config.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise PermissionError(
            f"The run folder {folder} cannot be written ({error.strerror}); choose another --out."
        ) from error
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RuntimeError(
            f"Another process is working in {folder}. Wait for it, or choose another --out."
        ) from None
    try:
        _check_same(config, folder)
        yield folder
    finally:
        lock.release()


def write_json(path: Path, values: Any) -> None:
    """Write JSON so that the file is whole or not there."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _check_same(config: RunConfig, folder: Path) -> None:
    path = folder / "config.yaml"
    if not path.is_file():
        write_config(config, path)
        return
    before, now = _settings(plain(read_config(path))), _settings(plain(config))
    differ = [k for k in sorted(before.keys() | now.keys()) if before.get(k) != now.get(k)]
    if differ:
        listed = "\n".join(f"  {k}: {before.get(k)!r} there, {now.get(k)!r} now" for k in differ)
        raise ValueError(
            f"{folder} holds a run with other settings:\n{listed}\nChoose another --out, or "
            "delete that folder."
        )


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    named = flat(values, whole=("evaluate.attacks",))
    return {name: value for name, value in named.items() if name not in _FREE}
