"""Save and load the state of a training, for exact resumption.

All random numbers in training depend only on the seed, the epoch and the sample. So the complete
state consists of the weights, the buffers, the optimizer's moments, the loss scale in fp16 and the
metrics of the finished epochs. It is stored in one safetensors file, which is replaced atomically.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim import Optimizer

from palpate.models.files.weights import write_weights

_FILE = "state.safetensors"


@dataclass
class Progressed:
    """The part of the state that does not consist of tensors.

    Attributes:
        settings: Text that identifies everything that determines the result.
        epoch: Number of finished epochs.
        best: The best validation score so far.
        history: Metrics of every finished epoch.
        scaler: State of the gradient scaler in fp16.
    """

    settings: str
    epoch: int = 0
    best: float = -1.0
    history: list[dict[str, Any]] = field(default_factory=list)
    scaler: dict[str, float] = field(default_factory=dict)


def save_state(folder: Path, model: nn.Module, optimizer: Optimizer, done: Progressed) -> None:
    """Save the state after an epoch: trainable weights, buffers, optimizer moments and progress."""
    tensors = {f"weight/{n}": p.detach() for n, p in model.named_parameters() if p.requires_grad}
    tensors |= {f"buffer/{name}": buffer for name, buffer in _buffers(model).items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"moment/{index}/{k}": v for k, v in moments.items()}
    write_weights(tensors, folder / _FILE, {"done": json.dumps(vars(done))})


def load_state(folder: Path, model: nn.Module, optimizer: Optimizer, settings: str) -> Progressed:
    """Load a saved state into model and optimizer, if there is one.

    Args:
        folder: Folder written by :func:`save_state`.
        model: Model whose trainable weights and buffers are replaced in place.
        optimizer: Optimizer whose moments are replaced.
        settings: Text that identifies everything that determines the result.

    Returns:
        The progress so far; that of a new training if there is no state.

    Raises:
        ValueError: If the state belongs to a training with other settings, or is damaged.
    """
    if not (folder / _FILE).is_file():
        return Progressed(settings)
    done, tensors = _read(folder / _FILE)
    if done.settings != settings:
        raise ValueError(
            f"{folder} holds a training with other settings, data or base weights, or one that "
            "began elsewhere. Choose another folder, or delete this one to start anew."
        )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(tensors[f"weight/{name}"])
        for name, buffer in _buffers(model).items():
            buffer.copy_(tensors[f"buffer/{name}"])
    optimizer.load_state_dict({**optimizer.state_dict(), "state": _moments(tensors)})
    return done


def _buffers(model: nn.Module) -> dict[str, Tensor]:
    """Buffers that are part of the state dict, such as batch statistics."""
    saved = model.state_dict().keys()
    return {name: buffer for name, buffer in model.named_buffers() if name in saved}


def _read(path: Path) -> tuple[Progressed, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            done = Progressed(**json.loads(file.metadata()["done"]))
            return done, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as the state of a training ({error}). Delete it to start anew."
        ) from error


def _moments(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """The optimizer state of each parameter, by the index of the parameter."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        if kind == "moment":
            index, key = rest.split("/")
            moments.setdefault(int(index), {})[key] = tensor
    return moments
