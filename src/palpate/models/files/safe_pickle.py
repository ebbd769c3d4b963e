"""Other projects' checkpoints: read without running what is in them, and told apart."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors.torch import load_file
from torch import Tensor

from palpate.models.files.inert import read_inert

# Where training scripts put the weights inside what they save, and what they prefix names with.
_WRAPPERS = ("state_dict", "model")
_PREFIXES = ("module.", "net.")
_COMPILED = "_orig_mod."  # torch.compile's, in front of whatever part was compiled
_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")

# Starts of names by which the checkpoints of a family are known.
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
    """The weights of another project's file, in float32, unwrapped and without prefixes.

    Args:
        path: As written by ``torch.save``, or ``.safetensors``.
        family: What it should be, for the message.
        marks: Starts of names, one name at least for each, without which it is something else.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read without running code, or is of another family.
    """
    state = _bare(read_state(path))
    if not _has(state, marks):
        raise ValueError(
            f"Expected the weights of a {family} in {path}, got {_guess(state)}. Pass the "
            f"checkpoint of a {family}."
        )
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def read_state(path: Path, *, mapped: bool = False) -> dict[str, Tensor]:
    """The tensors of a file by their names, unwrapped; nothing in it is run.

    Args:
        path: As written by ``torch.save``, or ``.safetensors``.
        mapped: Leave tensors on the disk, where the file allows it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read without running code, or holds no state dict.
    """
    return _unwrap(_read(path, mapped=mapped), path)


def holds(path: Path, marks: tuple[str, ...]) -> bool:
    """Whether a file's tensors are called like this; False where it cannot be read safely."""
    if not path.is_file() or path.suffix not in _SUFFIXES:
        return False
    try:
        # Names are enough: where they can, tensors stay on the disk.
        values = read_state(path, mapped=is_zipfile(path))
    except ValueError:
        return False
    return _has(_bare(values), marks)


def describe_file(path: Path) -> str:
    """What a file holds, for an error about it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read without running code, or holds no weights.
    """
    return _guess(_bare(_unwrap(_read(path, mapped=is_zipfile(path)), path)))


def _read(path: Path, *, mapped: bool = False) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            # Of a newer pickle protocol than PyTorch's own; if it is too new, that is an error.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except MemoryError:
        raise
    except Exception as error:
        if (values := _weights_beside_code(path, shapes=mapped)) is not None:
            return values
        raise ValueError(
            f"{path} cannot be read as plain tensors ({_reason(error)}). Files that need code to "
            "run are refused; fetch it again, or save its state dict as safetensors where you "
            "trust it."
        ) from None


def _reason(error: Exception) -> str:
    said = str(error).strip().split("\n")[0]
    if "weights_only" in said or "Weights only" in said:  # advice to switch this safety off
        return f"{type(error).__name__}: it is damaged, no weights at all, or more than that"
    return f"{type(error).__name__}: {said[:120]}"


def _weights_beside_code(path: Path, *, shapes: bool) -> dict[str, Tensor] | None:
    """The state dict of a file that PyTorch refuses as a whole; None if it has none."""
    if path.suffix == ".safetensors" or not is_zipfile(path):
        return None
    try:
        return _unwrap(read_inert(path, shapes=shapes), path)
    except MemoryError:  # says nothing about the file
        raise
    except Exception:  # a damaged file fails in many ways, and is refused for PyTorch's reason
        return None


def _unwrap(values: Any, path: Path) -> dict[str, Tensor]:
    for name in _WRAPPERS:
        if isinstance(values, Mapping) and isinstance(values.get(name), Mapping):
            values = values[name]
    if not isinstance(values, Mapping) or not values:
        raise ValueError(f"Expected a state dict in {path}, got {type(values).__name__}.")
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
    """Without the prefixes that all names share because of what the network was wrapped in."""
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
