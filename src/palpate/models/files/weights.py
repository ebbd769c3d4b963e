"""Find, read, write, check and hash weight files; no pickled code is run."""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from palpate.atomic import replacing
from palpate.models.files.safe_pickle import read_state

# Models that are included in the package.
EMBEDDED = {"palpate/tiny": Path(__file__).parents[1] / "tiny"}

_PICKLED = "pytorch_model.bin"
_OPEN_CLIP = "open_clip_pytorch_model.bin"
# In order of preference; the hub's half-precision variant has its own name.
_FILES = ("model.safetensors", "model.fp16.safetensors", _PICKLED)
_INDEX = "model.safetensors.index.json"  # lists the files of weights that are split (sharded)
_HUB = "hf-hub:"
_NEEDED = ["*.json", "*.safetensors", "merges.txt", "vocab.txt"]


def find_model(name: str | Path, *, revision: str | None = None) -> Path:
    """Find the files of a model, and download them from the hub if necessary.

    Args:
        name: Name of a model included in palpate, a local folder or file, or ``owner/name`` on the
            hub (open_clip's prefix ``hf-hub:`` is accepted).
        revision: Branch, tag or commit on the hub.

    Returns:
        The folder or file of the model.

    Raises:
        FileNotFoundError: If there is no such model, or it cannot be downloaded.
    """
    if isinstance(name, str):
        name = name.removeprefix(_HUB)
    if str(name) in EMBEDDED:
        return _embedded(str(name))
    folder = Path(name)
    if folder.exists():
        return folder
    if str(name).count("/") != 1 or str(name).startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"There is no directory or file {folder}, and it is not the name of a model on the hub "
            "(owner/name) either."
        )
    from huggingface_hub import snapshot_download

    try:
        # Pickled weights are only downloaded if the model has no safetensors.
        folder = Path(snapshot_download(str(name), revision=revision, allow_patterns=_NEEDED))
        if not any(folder.glob("*.safetensors")):
            snapshot_download(str(name), revision=revision, allow_patterns=[_PICKLED, _OPEN_CLIP])
        return folder
    except Exception as error:  # the hub client raises many types of error
        raise FileNotFoundError(
            f"Model {name!r} is neither a directory here nor could it be fetched from the hub "
            f"({type(error).__name__}). Check the name and the network, or download the model "
            "elsewhere and pass its directory."
        ) from error


def _embedded(name: str) -> Path:
    folder = EMBEDDED[name]
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"This copy of palpate comes without the weights of {name}. Install a release, or make "
            "them with `palpate pretrain --config recipes/tiny.yaml`."
        )
    return folder


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it is not a JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; {path.parent} is not a model.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable JSON: {error}.") from error
    if not isinstance(values, dict):
        raise ValueError(f"Expected a JSON object in {path}, got {type(values).__name__}.")
    return values


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read all tensors of a model folder; floating-point tensors are converted to float32.

    Raises:
        FileNotFoundError: If the folder has no weights.
        ValueError: If a file is damaged, contains no state dict, or cannot be read without running
            code.
    """
    if (folder / _INDEX).is_file():
        state = {k: v for shard in _shards(folder) for k, v in _read(folder / shard).items()}
    else:
        found = [folder / name for name in _FILES if (folder / name).is_file()]
        if not found:
            raise FileNotFoundError(
                f"{folder} has no weights: expected {' or '.join(_FILES)} beside config.json."
            )
        state = _read(found[0])
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def write_weights(
    state: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write tensors to a safetensors file, atomically.

    Args:
        state: Tensors by name, on any device.
        path: File to create or replace; its folder must exist.
        metadata: Texts to store with the tensors.
    """
    with replacing(path) as temporary:
        temporary.touch()
        allowed = temporary.stat().st_mode
        on_cpu = {k: v.detach().cpu().contiguous() for k, v in state.items()}
        save_file(on_cpu, temporary, metadata)
        # safetensors creates files that only their owner can read, regardless of the umask.
        temporary.chmod(allowed)


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """SHA-256 hash of names, shapes, types and values of tensors, independent of file format."""
    digest = sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_keys(wanted: Iterable[str], given: Iterable[str], source: str) -> None:
    """Raise an error if tensor names are missing or unexpected; the message lists the first ten.

    Args:
        wanted: Tensor names of the model.
        given: Tensor names in the file.
        source: Where the weights come from, for the message.

    Raises:
        ValueError: If a tensor is missing or unexpected.
    """
    wanted, given = set(wanted), set(given)
    missing, unexpected = sorted(wanted - given), sorted(given - wanted)
    if missing or unexpected:
        raise ValueError(
            f"The weights of {source} do not fit its configuration: {len(missing)} tensors are "
            f"missing{_first(missing)}, {len(unexpected)} are not expected{_first(unexpected)}."
        )


def check_shapes(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str) -> None:
    """Raise an error if the shapes of tensors differ; the message lists the first ten.

    Args:
        wanted: Tensors of the model.
        given: Tensors to load; only names that are also in ``wanted`` are compared.
        source: Where the weights come from, for the message.

    Raises:
        ValueError: If a shape differs.
    """
    wrong = [
        f"{name}: expected {tuple(wanted[name].shape)}, got {tuple(tensor.shape)}"
        for name, tensor in given.items()
        if name in wanted and wanted[name].shape != tensor.shape
    ]
    if wrong:
        raise ValueError(
            f"The weights of {source} have other shapes than its configuration says "
            f"({len(wrong)} tensors): {'; '.join(wrong[:10])}."
        )


def _first(names: list[str]) -> str:
    more = ", ..." if len(names) > 10 else ""
    return f" ({', '.join(names[:10])}{more})" if names else ""


def _shards(folder: Path) -> list[str]:
    listed = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise ValueError(f"Expected a weight_map in {folder / _INDEX}; fetch the file again.")
    return sorted(set(listed.values()))


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing although the model lists it.")
    return read_state(path)
