"""Reading and writing safetensors files that hold tensors and one text."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from palpate.atomic import write_bytes

_KEY = "palpate"  # metadata key of the text


def write_tensors(tensors: Mapping[str, Tensor], path: Path, text: str) -> None:
    """Write tensors and a text to ``path``, whole or not at all.

    Args:
        tensors: Tensors by name, on any device.
        path: File to create or replace. Its folder is created if need be.
        text: Stored in the metadata.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # safetensors' own save_file creates files that only their owner may read.
    write_bytes(path, save(on_cpu, {_KEY: text}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], str]:
    """Read what :func:`write_tensors` wrote: tensors by name, and the text.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or was not written by :func:`write_tensors`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file written by palpate, got no file at {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {})[_KEY]
            return {name: file.get_tensor(name) for name in file.keys()}, text  # noqa: SIM118
    except (SafetensorError, KeyError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read ({error!r}): it is damaged, or was not written by palpate."
        ) from error
