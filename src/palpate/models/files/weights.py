"""Weight files: find, read without running pickled code, write, check and hash them."""

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
_FILES = ("model.safetensors", "model.fp16.safetensors", _PICKLED)  # fp16: a variant on the hub
_INDEX = "model.safetensors.index.json"  # beside weights in several files
_HUB = "hf-hub:"
_NEEDED = ["*.json", "*.safetensors", "merges.txt", "vocab.txt"]


def find_model(name: str | Path, *, revision: str | None = None) -> Path:
    """Find a model's files: included in palpate, local, or downloaded from the hub.

    Args:
        name: Name of an included model, local folder or file, or ``owner/name`` on the hub, also
            with open_clip's prefix ``hf-hub:``.
        revision: Branch, tag or commit on the hub.

    Raises:
        FileNotFoundError: If it is none of these.
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
    """Read all tensors of a model folder, in float32.

    Raises:
        FileNotFoundError: If the folder has no weights.
        ValueError: If a file is damaged, holds no state dict, or cannot be read without running
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
    """Write tensors as safetensors; the file appears whole or not at all.

    Args:
        state: Tensors by name; copied to the CPU.
        path: File to create or replace, in a folder that exists.
        metadata: Texts to keep with the tensors.
    """
    with replacing(path) as temporary:
        temporary.touch()
        allowed = temporary.stat().st_mode
        on_cpu = {k: v.detach().cpu().contiguous() for k, v in state.items()}
        save_file(on_cpu, temporary, metadata)
        # safetensors makes files that only their owner can read, whatever the umask says.
        temporary.chmod(allowed)


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes, types and values, whatever the file format."""
    digest = sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_keys(wanted: Iterable[str], given: Iterable[str], source: str) -> None:
    """Refuse weights with missing or unexpected names; the message lists the first ten.

    Args:
        wanted: Names that the model has.
        given: Names in the file.
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
    """Refuse tensors of other shapes; the message lists the first ten.

    Args:
        wanted: Tensors of the model; those that ``given`` lacks are ignored.
        given: Tensors to load.
        source: Where they come from, for the message.

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
