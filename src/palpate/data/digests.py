"""Hashes of the images and masks of a data set, by which a repeated run finds that data changed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from palpate.data.dataset import PromptedDataset

_SHOWN = 3  # samples named in a message


def digests(data: PromptedDataset) -> dict[str, str]:
    """Hash image and mask of every sample: their files, or their pixels where there are none.

    Returns:
        SHA-256 of both by the name of the sample: data set and key.
    """
    return dict(_hashed(data))


@dataclass(frozen=True)
class Changes:
    """How the samples of a data set differ from those of an earlier time; names of samples."""

    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.added)

    def __str__(self) -> str:
        told = (("changed", self.changed), ("missing", self.missing), ("added", self.added))
        return "; ".join(f"{len(names)} {what} ({_some(names)})" for what, names in told if names)


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> Changes:
    """Compare the digests of a data set of two times.

    >>> print(changes({"set a": "1", "set b": "2"}, {"set a": "1", "set b": "3"}))
    1 changed (set b)
    """
    return Changes(
        tuple(name for name in before if name in now and before[name] != now[name]),
        tuple(name for name in before if name not in now),
        tuple(name for name in now if name not in before),
    )


def _hashed(data: PromptedDataset) -> Iterator[tuple[str, str]]:
    for entry in data.entries:
        name = f"{getattr(entry, 'dataset', None) or data.spec.name} {entry.key}"
        yield name, sha256(b"".join(_content(entry, data.size))).hexdigest()


def _content(entry: Any, size: int | None) -> Iterator[bytes]:
    inner = entry
    while hasattr(inner, "entry"):  # an entry of a pool, or one that is read through a cache
        inner = inner.entry
    named = [getattr(inner, name, None) for name in ("image", "mask")]
    files = [file for file in named if isinstance(file, Path)]
    if len(files) == len(named):
        for file in files:
            content = file.read_bytes()
            yield len(content).to_bytes(8, "big") + content
        return
    for tensor in entry.read(size):
        yield repr(tuple(tensor.shape)).encode() + tensor.contiguous().numpy().tobytes()


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
