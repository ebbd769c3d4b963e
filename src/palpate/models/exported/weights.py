"""State dicts: weights without a network. The user names the network as ``base``."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from palpate.models.files.safe_pickle import SUFFIXES, describe_file, read_state
from palpate.models.files.weights import check_keys, check_shapes, fingerprint
from palpate.models.pixel_model import PixelModel
from palpate.models.request import Request


def is_weights(place: Path) -> bool:
    """Whether a file has weights that can be read without running code."""
    if not place.is_file() or place.suffix not in SUFFIXES:
        return False
    try:
        read_state(place)
    except ValueError:
        return False
    return True


def fill(model: PixelModel, path: Path, base: str) -> None:
    """Load the weights of a file into a model that was made by the name of its network.

    Args:
        model: The model; changed in place.
        path: File with a state dict.
        base: Name of the network.

    Raises:
        ValueError: If the weights do not fit.
    """
    fit(model.net, read_state(path), path)
    model.base_hash = fingerprint(model.state_dict())
    model.fresh, model.origin = False, f"{path.name} in {base}"


def fit(net: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a state dict into a network, whatever prefix its names have.

    Training scripts save a network inside another module (``module.``, ``model.``), and beside
    other weights, such as those of a loss.

    Raises:
        ValueError: If the weights do not fit.
    """
    own = net.state_dict()
    chosen = _without_prefix(own, state)
    check_keys(own, chosen, str(path))
    check_shapes(own, chosen, str(path))
    with torch.no_grad():
        net.load_state_dict({name: value.to(own[name].dtype) for name, value in chosen.items()})


def refuse_without_network(request: Request) -> PixelModel:
    """Raise an error that says how to name the network that weights belong to.

    Raises:
        ValueError: Always.
    """
    path = request.folder
    state = read_state(path)
    first = next((v for v in state.values() if v.dim() == 4), None)
    channels = "" if first is None else f"; the first convolution reads {first.shape[1]} channels"
    raise ValueError(
        f"{path} cannot be loaded alone: Expected the network that its weights belong to, got "
        f"{describe_file(path)} ({len(state)} tensors{channels}). Name the network as base: a name "
        "such as monai/unet, with its options, or a function in a file net.py:\n"
        "    def make():\n"
        "        from your_code import Net\n"
        "        return Net()\n"
        f"In Python: palpate.load_model({str(path)!r}, base='net.py:make'); on the command line: "
        "--options base net.py:make, or in a run --model.options base net.py:make."
    )


def _without_prefix(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The part of a state dict whose names, less one prefix, are those of the network."""
    if own.keys() <= state.keys():
        return state
    first = next(iter(own), "")
    ends = [name.removesuffix(first) for name in state if name.endswith(first)]
    for prefix in sorted(set(ends), key=len):
        part = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
        if own.keys() <= part.keys():
            return {name: part[name] for name in own}
    return state
