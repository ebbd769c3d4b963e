"""Where a training stands, so that it goes on exactly where it was stopped.

Everything random in training is drawn from names (seed, epoch, key), so weights, the optimiser's
moments and the epoch are the whole state. They live in one safetensors file, replaced atomically.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

_FILE = "state.safetensors"


@dataclass
class Progressed:
    """What is known besides tensors: epochs done, the best score, and what each epoch gave."""

    settings: str
    epoch: int = 0
    best: float = -1.0
    history: list[dict[str, Any]] = field(default_factory=list)


def save_state(folder: Path, model: nn.Module, optimizer: Optimizer, done: Progressed) -> None:
    """Write the state after an epoch."""
    tensors = {f"weight/{n}": p.detach() for n, p in model.named_parameters() if p.requires_grad}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"moment/{index}/{k}": v for k, v in moments.items()}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    save_file(tensors, folder / f"{_FILE}.partial", {"done": json.dumps(vars(done))})
    (folder / f"{_FILE}.partial").replace(folder / _FILE)


def load_state(folder: Path, model: nn.Module, optimizer: Optimizer, settings: str) -> Progressed:
    """Continue from a state if there is one.

    Args:
        folder: Where :func:`save_state` wrote.
        model: Gets the weights, in place.
        optimizer: Gets its moments.
        settings: Fingerprint of all that decides the outcome.

    Raises:
        ValueError: If the state belongs to a training with other settings.
    """
    if not (folder / _FILE).is_file():
        return Progressed(settings)
    with safe_open(folder / _FILE, framework="pt") as file:
        done = Progressed(**json.loads(file.metadata()["done"]))
        tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if done.settings != settings:
        raise ValueError(
            f"{folder} holds a training with other settings, data or base weights. Choose another "
            "folder, or delete this one to start anew."
        )
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data.copy_(tensors[f"weight/{name}"])
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        if kind == "moment":
            index, key = rest.split("/")
            moments.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return done
