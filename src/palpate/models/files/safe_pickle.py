"""Read checkpoints of other projects without running code, and recognise them by tensor names.

Files are first read with ``torch.load(weights_only=True)``, which refuses a file if it contains
anything but tensors and plain values. But training frameworks often store optimisers, schedules and
settings beside the weights. From such files :func:`read_inert` reads only the tensors. It never
imports what the pickle refers to: a few names stand for tensors and dictionaries, and all other
objects are replaced by placeholders that do nothing.
"""

import pickle
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from inspect import isfunction
from pathlib import Path
from typing import Any, cast
from zipfile import ZipFile, is_zipfile

import torch
from safetensors.torch import load_file
from torch import Tensor

# Keys under which training scripts save the weights, and prefixes that they add to tensor names.
_WRAPPERS = ("state_dict", "model")
_PREFIXES = ("module.", "net.")
_COMPILED = "_orig_mod."  # added by torch.compile to the name of every compiled module
SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")

# A checkpoint belongs to a family if, for each prefix, it has a tensor name that starts with it.
_FAMILIES = {
    "CLIPSeg (Hugging Face's layout)": ("clip.vision_model.", "decoder.film_mul."),
    "CLIPSeg (the authors' decoder)": ("film_mul.", "reduces."),
    "BiomedCLIP (open_clip)": ("visual.trunk.", "text.transformer."),
    "OpenAI CLIP": ("visual.conv1.", "transformer.resblocks."),
    "CLIPSeg in another network": ("clipseg.clip.", "clipseg.decoder."),
    "BiomedCLIP in another network": ("biomedclip.visual.", "decoder.film_mul."),
    "CRIS": ("backbone.visual.", "neck.f1_v_proj."),
    "PraNet": ("resnet.", "rfb2_1."),
    "DINOv2": ("embeddings.cls_token", "encoder.layer."),
}


def read_pickled(path: Path, *, family: str, marks: tuple[str, ...]) -> dict[str, Tensor]:
    """Read the weights of another project's checkpoint, in float32.

    Surrounding dictionaries and prefixes common to all names are removed.

    Args:
        path: File written by ``torch.save``, or a ``.safetensors`` file.
        family: Name of the expected family, for error messages.
        marks: Prefixes that identify the family; each must occur among the tensor names.

    Returns:
        Tensors by name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read without running code, or belongs to another family.
    """
    state = _bare(read_state(path))
    if not _has(state, marks):
        raise ValueError(
            f"Expected the weights of a {family} in {path}, got {_guess(state)}. Pass the "
            f"checkpoint of a {family}."
        )
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def read_state(path: Path, *, mapped: bool = False) -> dict[str, Tensor]:
    """Read the state dict of a file, without running code.

    Args:
        path: File written by ``torch.save``, or a ``.safetensors`` file.
        mapped: Memory-map the tensors if the file format allows it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read without running code, or contains no state dict.
    """
    return _unwrap(_read(path, mapped=mapped), path)


def holds(path: Path, marks: tuple[str, ...]) -> bool:
    """Whether each prefix occurs among a file's tensor names; False if it cannot be read safely."""
    if not path.is_file() or path.suffix not in SUFFIXES:
        return False
    try:
        # Only the names are needed: map the file instead of reading gigabytes of weights.
        values = read_state(path, mapped=is_zipfile(path))
    except ValueError:
        return False
    return _has(_bare(values), marks)


def describe_file(path: Path) -> str:
    """Describe the weights in a file, for an error message.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read without running code, or contains no weights.
    """
    return _guess(_bare(_unwrap(_read(path, mapped=is_zipfile(path)), path)))


def _read(path: Path, *, mapped: bool = False) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            # PyTorch warns of a newer pickle protocol, but raises an error if it cannot read it.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except MemoryError:
        raise
    except Exception as error:
        values, why = _weights_beside_code(path, shapes=mapped)
        if values is not None:
            return values
        raise ValueError(
            f"{path} cannot be read as plain tensors ({why or _reason(error)}). Files that need "
            "code to run are refused; fetch it again, or save its state dict as safetensors where "
            "you trust it. A whole network that was pickled is read with --trust-code (in Python: "
            "trust_code=True)."
        ) from None


def _reason(error: Exception) -> str:
    said = str(error).strip().split("\n")[0]
    # PyTorch's message advises to disable weights_only, which would run the file's code.
    if "weights_only" in said or "Weights only" in said:
        return f"{type(error).__name__}: it is damaged, no weights at all, or more than that"
    return f"{type(error).__name__}: {said[:120]}"


def _weights_beside_code(path: Path, *, shapes: bool) -> tuple[dict[str, Tensor] | None, str]:
    """Read the state dict of a file that PyTorch refuses; None and the reason if there is none.

    The reason is empty where PyTorch's says more.
    """
    if path.suffix == ".safetensors" or not is_zipfile(path):
        return None, ""
    try:
        return _unwrap(read_inert(path, shapes=shapes), path), ""
    except MemoryError:  # not a fault of the file
        raise
    except ValueError as error:  # written by this module: it names what was expected and what came
        return None, str(error).rstrip(".")
    except Exception as error:  # damaged files fail in many ways
        return None, f"{type(error).__name__}: {str(error)[:120]}".rstrip(".: ")


def _unwrap(values: Any, path: Path) -> dict[str, Tensor]:
    for name in _WRAPPERS:
        if isinstance(values, Mapping) and isinstance(values.get(name), Mapping):
            values = values[name]
    if not isinstance(values, Mapping) or not values:
        got = "a whole network" if isinstance(values, Inert) else type(values).__name__
        raise ValueError(f"Expected a state dict in {path}, got {got}.")
    strange = [
        str(k) for k, v in values.items() if not (isinstance(k, str) and isinstance(v, Tensor))
    ]
    if strange:
        raise ValueError(
            f"Expected tensors by name in {path}, or under one of {', '.join(_WRAPPERS)}, got "
            f"something else for {', '.join(strange[:10])}."
        )
    return {name.replace(_COMPILED, ""): tensor for name, tensor in values.items()}


def _bare(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove prefixes that all names share because the network was wrapped in another module."""
    bare = dict(state)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in bare):
            bare = {name.removeprefix(prefix): tensor for name, tensor in bare.items()}
    return bare


def _has(state: Mapping[str, Tensor], marks: tuple[str, ...]) -> bool:
    return all(any(name.startswith(mark) for name in state) for mark in marks)


def _guess(state: Mapping[str, Tensor]) -> str:
    for family, marks in _FAMILIES.items():
        if _has(state, marks):
            return f"those of a {family}"
    return f"tensors called {', '.join(sorted(state)[:5])}, ..."


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
    """Read a file, replacing all objects but tensors and plain values by :class:`Inert`.

    Args:
        path: File written by ``torch.save`` of PyTorch 1.6 or later, with any pickle protocol.
        shapes: Read only the shapes and types of tensors; the tensors are on the device ``meta``.

    Raises:
        ValueError: If the file has another layout, or was written on a machine with another byte
            order.
        Exception: If the file is damaged; the type depends on the damage.
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
    """Placeholder for an object whose code is not run; accepts any call and state."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> "Inert":
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Ignore an element; called when a list subclass is unpickled."""

    def extend(self, values: Any) -> None:
        """Ignore elements; called when a list subclass is unpickled."""


class _Reader(pickle.Unpickler):
    """An unpickler that never imports a module."""

    shapes = False

    def __init__(self, index: Any, content: Callable[[str], bytes]) -> None:
        super().__init__(index)
        self._content, self._storages = content, dict[str, Tensor]()

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        known = _KNOWN.get((module, name), Inert)
        # A pickle can set attributes of any object it gets. Give it a new function each time, so
        # that it cannot change palpate's own.
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


_KNOWN = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("collections", "OrderedDict"): cast(Any, OrderedDict),
}
