"""Files of tensors that others have published: safetensors, or what ``torch.save`` writes."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

# What training scripts put around a state dict, and data parallelism before its names.
_AROUND = ("state_dict", "model_state_dict", "model", "net")
_BEFORE = "module."


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The state dict in a file, in float32, without what training scripts put around it.

    Code in the file is not run.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or holds something else.
    """
    state = _unwrapped(_opened(path), path)
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def tensor_names(path: Path) -> frozenset[str]:
    """The names in a state dict of a file, without reading the tensors; none in any other file."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return frozenset(name.removeprefix(_BEFORE) for name in file.keys())  # noqa: SIM118
        return frozenset(_unwrapped(_opened(path), path))
    except (ValueError, SafetensorError):
        return frozenset()


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of weights {path}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=_can_be_mapped(path))
    except Exception as error:  # unpickling raises many kinds
        raise ValueError(
            f"{path} cannot be read as weights: expected safetensors, or tensors written by "
            f"torch.save ({error})."
        ) from error


def _can_be_mapped(path: Path) -> bool:
    """Whether torch wrote a zip archive, as it does since 1.6."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _unwrapped(loaded: Any, path: Path) -> dict[str, Tensor]:
    for name in _AROUND:
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise ValueError(
            f"Expected names and tensors in {path}, got a {type(loaded).__name__} of something "
            "else; save the state_dict of the model."
        )
    return {str(name).removeprefix(_BEFORE): value for name, value in loaded.items()}
