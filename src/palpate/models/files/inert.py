"""Tensors out of a ``torch.save`` file in which there is more than tensors, without running it.

Training frameworks put optimisers, schedules and settings beside the weights, and pickle names the
code that would bring those back. PyTorch's own safe reading refuses such a file as a whole. Here no
name is ever looked up: a few are known to mean tensors and dictionaries, and whatever else the file
asks for becomes an object that does nothing.
"""

import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from inspect import isfunction
from pathlib import Path
from typing import Any, cast
from zipfile import ZipFile

import torch
from torch import Tensor

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_INDEX = "data.pkl"


def read_inert(path: Path, *, shapes: bool = False) -> Any:
    """What a file holds; in place of everything but tensors and plain values, idle objects.

    Args:
        path: As ``torch.save`` writes it since PyTorch 1.6, with any pickle protocol.
        shapes: Leave the contents of tensors on the disk; they come on the device ``meta``.

    Raises:
        ValueError: If it is no such file, or was written on a machine of another byte order.
        Exception: Of many kinds, if it is damaged.
    """
    with ZipFile(path) as archive:
        found = [name for name in archive.namelist() if name.rpartition("/")[2] == _INDEX]
        if len(found) != 1:
            raise ValueError(f"Expected one {_INDEX} in {path}, got {len(found)}.")
        folder = found[0].removesuffix(_INDEX)
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order).decode() != sys.byteorder:
            raise ValueError(f"Expected the byte order of this machine in {path}.")
        with archive.open(found[0]) as index:
            reader = _Reader(index, lambda key: archive.read(f"{folder}data/{key}"))
            reader.shapes = shapes
            return reader.load()


class Inert:
    """Stands for an object whose code is not run; takes whatever a file wants to put into it."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> "Inert":
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Take an element, as a kind of list would."""

    def extend(self, values: Any) -> None:
        """Take elements, as a kind of list would."""


class _Reader(pickle.Unpickler):
    """Reads pickles as if nothing were installed."""

    shapes = False

    def __init__(self, index: Any, content: Callable[[str], bytes]) -> None:
        super().__init__(index)
        self._content, self._storages = content, dict[str, Tensor]()

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        known = _MEANINGS.get((module, name), Inert)
        # Files may set attributes of what they are handed, so our own functions they do not get.
        return (lambda *given: known(*given)) if isfunction(known) else known

    def persistent_load(self, given: Any) -> Tensor:
        kind, dtype, key, _, length = given
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"Expected a storage of numbers, got {kind!r}.")
        if key not in self._storages:
            self._storages[key] = self._storage(dtype, str(key), length)
        return self._storages[key]

    def _storage(self, dtype: torch.dtype, key: str, length: int) -> Tensor:
        if self.shapes or length == 0:
            return torch.empty(length, dtype=dtype, device="meta" if self.shapes else "cpu")
        return torch.frombuffer(bytearray(self._content(key)), dtype=dtype)


def _tensor(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> Tensor:
    return storage.as_strided(size, stride, offset)


def _parameter(data: Tensor, *_: Any) -> Tensor:
    return data


_MEANINGS = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("collections", "OrderedDict"): cast(Any, OrderedDict),
}
