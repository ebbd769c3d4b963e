"""On-disk cache of decoded and resized samples.

A sample is one file: a short header, the image as 8-bit integers (or as floats if 8 bits would lose
precision) and the mask. The file name is a hash of the paths, sizes and modification times of image
and mask, of the requested size and of the values picked from the mask, so that a changed image gets
a new cache entry. Files are written atomically, so that several processes may share a folder. Each
has a checksum, and damaged samples are decoded again. Cached samples equal decoded ones bit for
bit.
"""

import mmap
import struct
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from palpate.atomic import write_bytes
from palpate.data.annotations import FileEntry
from palpate.data.dataset import PromptedDataset, describe_entry
from palpate.data.reading.mask_values import BINARY, MaskRule

_MARK = b"palpate1"  # increase the number if the decoding or this format changes
_HEADER = struct.Struct(
    "<8sIBII"
)  # mark, checksum of everything after it, whether 8 bits, height, width
_AFTER_CHECKSUM = 12  # bytes of mark and checksum


def cached(data: PromptedDataset, folder: str | Path) -> PromptedDataset:
    """Add a cache to a data set: decoded samples are stored in ``folder`` on first use.

    Only samples from files are cached; phantoms and samples in memory are not.

    Args:
        data: The data set.
        folder: Cache folder, created if needed; may be shared by data sets, sizes and processes. A
            sample of 352 x 352 pixels takes half a megabyte. It is safe to delete.

    Returns:
        A copy of the data set that reads through the cache.

    Raises:
        NotADirectoryError: If ``folder`` is a file.
    """
    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise NotADirectoryError(f"Expected a folder for the cache, got the file {place}.")
    entries = tuple(_CachedEntry(e, place) if isinstance(e, FileEntry) else e for e in data.entries)
    return replace(data, entries=entries)


class _Pair(NamedTuple):
    image: Float[Tensor, "3 h w"]
    mask: Bool[Tensor, "1 h w"]


@final
@dataclass(frozen=True)
class _CachedEntry:
    """A file entry that is read from the cache if possible."""

    entry: FileEntry
    folder: Path

    def __repr__(self) -> str:
        return describe_entry(self)

    @property
    def image_name(self) -> str:
        return self.entry.image_name

    @property
    def mask_name(self) -> str:
        return self.entry.mask_name

    @property
    def key(self) -> str:
        return self.entry.key

    @property
    def prompts(self) -> Mapping[str, tuple[str, ...]]:
        return self.entry.prompts

    @property
    def group(self) -> str | None:
        return self.entry.group

    @property
    def structure(self) -> str | None:
        return self.entry.structure

    @property
    def dataset(self) -> str | None:
        return self.entry.dataset

    @property
    def facts(self) -> Mapping[str, str]:
        return self.entry.facts

    @property
    def rule(self) -> MaskRule:
        return self.entry.rule

    def read_soft_mask(self, size: int | None) -> Float[Tensor, "1 h w"]:
        return self.entry.read_soft_mask(size)

    def read_ignored(self, size: int | None) -> Bool[Tensor, "1 h w"] | None:
        return self.entry.read_ignored(size)  # from the mask alone, which is quick

    def read(self, size: int | None) -> tuple[Float[Tensor, "3 h w"], Bool[Tensor, "1 h w"]]:
        """Image and mask, from the cache or decoded and then stored."""
        path = self.folder / _name(self.entry, size)
        found = _load(path)
        if found is None:
            found = _Pair(*self.entry.read(size))
            _keep(path, found)
        return found.image, found.mask


def _name(entry: FileEntry, size: int | None) -> str:
    """File name of a sample in the cache, in one of 256 subfolders."""
    # Modification times replace a hash of the contents, which would mean reading the files.
    told = [str(size), *([str(entry.rule)] if entry.rule != BINARY else [])]
    for path in (entry.image, entry.mask):
        status = path.stat()
        told += [str(path.resolve()), str(status.st_size), str(status.st_mtime_ns)]
    digest = blake2b("\0".join(told).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    return f"{digest[:2]}/{digest[2:]}.sample"


def _load(path: Path) -> _Pair | None:
    """A sample from its cache file; None if that is missing or damaged."""
    try:
        with (
            path.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as kept,
        ):
            return _unpacked(kept)
    except (OSError, ValueError):  # an empty file cannot be mapped
        return None


def _unpacked(kept: mmap.mmap) -> _Pair | None:
    """A sample from its mapped file; None if header, length or checksum is wrong."""
    if len(kept) < _HEADER.size:
        return None
    mark, checksum, is_short, height, width = _HEADER.unpack_from(kept)
    area = height * width
    pixels = 3 * area * (1 if is_short else 4)
    if mark != _MARK or len(kept) != _HEADER.size + pixels + area:
        return None
    view = memoryview(kept)
    try:
        if zlib.crc32(view[_AFTER_CHECKSUM:]) != checksum:
            return None
        values: NDArray[Any] = np.frombuffer(
            view, np.uint8 if is_short else np.float32, 3 * area, _HEADER.size
        )
        image = values.astype(np.float32).reshape(3, height, width)
        mask = torch.from_numpy(np.frombuffer(view, np.bool_, area, _HEADER.size + pixels).copy())
        del values  # the map cannot be closed while an array refers to it
    finally:
        view.release()
    if is_short:
        image /= np.float32(255)
    return _Pair(torch.from_numpy(image), mask.reshape(1, height, width))


def _keep(path: Path, pair: _Pair) -> None:
    """Write a sample; a failure (such as a full disk) is a warning, since the cache is optional."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, _packed(pair))
    except OSError as error:
        warnings.warn(
            f"Samples could not be kept in the cache {path.parent.parent} ({error}); they are "
            "decoded each time.",
            stacklevel=2,
        )


def _packed(pair: _Pair) -> bytes:
    """The bytes of a cache file."""
    levels = (pair.image * 255).round().to(torch.uint8)
    # 8 bits only if they restore the image exactly, so that the cache never changes a result.
    is_short = torch.equal(levels.float() / 255, pair.image)
    pixels = levels if is_short else pair.image
    _, height, width = pair.image.shape
    rest = pixels.contiguous().numpy().tobytes() + pair.mask.contiguous().numpy().tobytes()
    sizes = _HEADER.pack(_MARK, 0, is_short, height, width)[_AFTER_CHECKSUM:]
    checksum = zlib.crc32(rest, zlib.crc32(sizes))
    return _HEADER.pack(_MARK, checksum, is_short, height, width) + rest
