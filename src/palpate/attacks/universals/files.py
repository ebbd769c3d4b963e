"""Tensors and a text in one safetensors file, whole or absent."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_KEY = "palpate"


def write_tensors(tensors: Mapping[str, Tensor], path: Path, text: str) -> None:
    """Replace ``path`` in one step, so that a killed process leaves the old file or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(whole, unfinished, {_KEY: text})
    unfinished.replace(path)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], str]:
    """Tensors by name, and the text.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or was not written by :func:`write_tensors`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {})[_KEY]
            return {name: file.get_tensor(name) for name in file.keys()}, text  # noqa: SIM118
    except (SafetensorError, KeyError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read ({error!r}): it is damaged, or was not written by palpate."
        ) from error
