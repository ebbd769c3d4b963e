"""The run folder: its lock, and the small files that document a run."""

import importlib.metadata
import json
import os
import platform
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from palpate.atomic import removed_if_failed, write_text
from palpate.config_io import flat
from palpate.evaluation.results.store import STORE_RECORDS
from palpate.pipeline.attacks.entries import without_rivals
from palpate.pipeline.recipe.config import RunConfig
from palpate.pipeline.recipe.reading import plain, read_config, write_config
from palpate.training.loop import peak_memory_mb

# Settings that may differ between two calls of the same run, because they do not change results.
_FREE = (
    "out", "name", "model.device", "model.build.cache", "model.build.training.workers",
    "model.checkpoint", "data.root", "data.cache", "train.settings.workers",
    "evaluate.batch_size", "evaluate.workers", "evaluate.examples", "evaluate.sanity_samples",
)  # fmt: skip
_PACKAGES = (
    "palpate", "torch", "transformers", "accelerate", "monai", "numpy", "scipy", "pandas",
    "pyarrow", "safetensors", "pillow", "matplotlib",
)  # fmt: skip
_COSTS, _ENVIRONMENT, _EVALUATIONS = "costs.json", "environment.json", "evaluations.json"
_LOCK = ".lock"
# Files and folders that are written before there are results.
_RECORDS = (
    "config.yaml", "recipe.yaml", "sources", "sources.json", "SHA256SUMS", "criteria.json",
    _LOCK, _COSTS, _ENVIRONMENT, *STORE_RECORDS,
)  # fmt: skip


@contextmanager
def open_folder(config: RunConfig, otherwise: str = "choose another --out") -> Iterator[Path]:
    """Create or reopen the run folder, and lock it against other processes.

    If the body fails before there are any results, a new folder is removed again.

    Args:
        config: The recipe.
        otherwise: What to do if the folder cannot be used, for error messages.

    Raises:
        PermissionError: If the folder is not writable.
        RuntimeError: If another process has locked the folder.
        ValueError: If it holds a run with other settings; the message lists them.
    """
    folder = config.folder
    with removed_if_failed(folder, _RECORDS):
        _make_writable(folder, otherwise)
        lock = FileLock(folder / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise RuntimeError(
                f"Another process is working in {folder}. Wait for it, or {otherwise}."
            ) from None
        try:
            _check_same(config, folder)
            yield folder
        finally:
            lock.release()


def _make_writable(folder: Path, otherwise: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise PermissionError(
            f"The run folder {folder} cannot be written ({error.strerror}); {otherwise}."
        ) from error


def _check_same(config: RunConfig, folder: Path) -> None:
    path = folder / "config.yaml"
    if not path.is_file():
        write_config(config, path)
        return
    stored = read_config(path)
    before, now = _settings(plain(stored)), _settings(plain(config))
    differ = [k for k in sorted(before.keys() | now.keys()) if before.get(k) != now.get(k)]
    if differ:
        listed = "\n".join(f"  {k}: {before.get(k)!r} there, {now.get(k)!r} now" for k in differ)
        raise ValueError(
            f"{folder} holds a run with other settings:\n{listed}\nChoose another --out, or "
            "delete that folder."
        )
    if config.evaluate.attacks != stored.evaluate.attacks:  # they differ in `against` alone
        wanted = replace(stored.evaluate, attacks=config.evaluate.attacks)
        write_config(replace(stored, evaluate=wanted), path)


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    named = flat(values, whole=("evaluate.attacks",))
    # What an attack is compared with changes the report, and no row.
    attacks = named["evaluate.attacks"].items()
    named["evaluate.attacks"] = {name: without_rivals(options) for name, options in attacks}
    return {name: value for name, value in named.items() if name not in _FREE}


@contextmanager
def measured(stage: str, folder: Path) -> Iterator[None]:
    """Record the time and peak memory of a stage in ``costs.json``.

    Seconds are summed over the calls of an interrupted run. The peak is that of the process up to
    the end of the stage, as reported by the operating system.
    """
    started = time.perf_counter()
    try:
        yield
    finally:
        costs = read_costs(folder)
        before = costs.get(stage, {"seconds": 0.0, "peak_memory_mb": 0.0})
        costs[stage] = {
            "seconds": before["seconds"] + time.perf_counter() - started,
            "peak_memory_mb": max(before["peak_memory_mb"], peak_memory_mb()),
        }
        write_json(folder / _COSTS, costs)


def read_costs(folder: Path) -> dict[str, Any]:
    """Read seconds and peak memory (MB) of a run by stage; empty if none were recorded."""
    path = folder / _COSTS
    costs: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return costs


def note_evaluation(
    folder: Path, attacks: tuple[str, ...] | None, epsilon_255: tuple[float, ...] | None
) -> None:
    """Record an evaluation beyond the recipe of a run, as the command that repeats it.

    Args:
        folder: Run folder.
        attacks: Names of the attacks, if not those of the recipe.
        epsilon_255: Radii in steps of an 8-bit image, if not those of the recipe.
    """
    words = ["palpate", "evaluate", "--run", "."]
    words += ["--attacks", *attacks] if attacks is not None else []
    radii = [f"{epsilon:.12g}" for epsilon in epsilon_255 or ()]
    words += ["--epsilon-255", *radii] if epsilon_255 is not None else []
    earlier, command = read_evaluations(folder), shlex.join(words)
    if len(words) > 4 and command not in earlier:
        write_json(folder / _EVALUATIONS, [*earlier, command])


def read_evaluations(folder: Path) -> list[str]:
    """Read the commands recorded by :func:`note_evaluation`, in order.

    Raises:
        ValueError: If the file is not a list of commands.
    """
    path = folder / _EVALUATIONS
    if not path.is_file():
        return []
    commands = json.loads(path.read_text(encoding="utf-8"))
    if not (isinstance(commands, list) and all(isinstance(each, str) for each in commands)):
        raise ValueError(
            f"Expected a list of commands in {path}, got something else. Delete that file; the "
            "page then no longer tells which attacks were added to the run."
        )
    return commands


def write_environment(folder: Path) -> None:
    """Write date, host, hardware, versions and the commit of the code to ``environment.json``.

    A run that is continued keeps the date of its first call.
    """
    started = (read_environment(folder) or {}).get("date")
    now_here = describe_environment()
    if started is not None:
        now_here = {**now_here, "date": started, "continued": now_here["date"]}
    write_json(folder / _ENVIRONMENT, now_here)


def read_environment(folder: Path) -> dict[str, Any] | None:
    """Read the file of :func:`write_environment`; None if it does not exist."""
    path = folder / _ENVIRONMENT
    if not path.is_file():
        return None
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def describe_environment() -> dict[str, Any]:
    """Date, host, hardware, versions and the commit of the code, as plain values."""
    return {
        "date": now(),
        "host": socket.gethostname(),
        "os": _system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": _memory_gb(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "gpu_memory_gb": _gpu_memory_gb(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def write_json(path: Path, values: Any) -> None:
    """Write plain values to a JSON file atomically."""
    write_text(path, json.dumps(values, indent=2) + "\n")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def now() -> str:
    """Date and time in UTC, to the second.

    >>> len(now())
    20
    """
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _system() -> str:
    """Operating system with its version, such as ``Debian GNU/Linux 12 (bookworm)``."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):  # not Linux
        return f"{platform.system()} {platform.release()}"


def _memory_gb() -> float | None:
    """Memory of the machine in GB; None where the system does not tell."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def _gpu_memory_gb() -> float | None:
    if not torch.cuda.is_available():
        return None
    return round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Git commit of palpate's source, or None if it does not run from a checkout."""
    folder = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
