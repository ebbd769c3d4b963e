"""Kinds of networks: files that other tools write, and modules that are called in other ways."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from formats_kind import Kind
from torch import Tensor, nn

import palpate as pp
from palpate.models import query_scores
from palpate.randomness import seeded

SIDE = 32
IMAGES = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
_ALLOWED = 1e-3  # difference of logits and, in relation to the largest, of gradients
_LUMA = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)

SOURCE = """
from torch import nn
from palpate.models import query_scores
from palpate.randomness import seeded

def make():
    with seeded(0):
        return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1)).eval()

def call(net, images):
    return net({"image": images})["seg"]

def spaced(net, images):
    return net(images, images.new_ones(len(images)))

def queries(net, images):
    made = net(images)
    return query_scores(made.class_queries_logits, made.masks_queries_logits)
"""


def net(channels: int = 3, outside: int = 1, *more: nn.Module) -> nn.Sequential:
    with seeded(0):
        first = nn.Conv2d(channels, 4, 3, padding=1)
        return nn.Sequential(first, nn.ReLU(), nn.Conv2d(4, outside, 1), *more).eval()


class Labels(nn.Module):
    """Answers with the number of the best class."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).argmax(1)


class Named(nn.Module):
    """Reads and returns a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"seg": self.net(x["image"])}


class Spaced(nn.Module):
    """Reads the spacing of the pixels as well."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Tensor, spacing: Tensor) -> Tensor:
        return self.net(x) * spacing.view(-1, 1, 1, 1)


class Queries(nn.Module):
    """Answers with classes and masks of three queries, as networks of the Mask2Former kind."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net(3, 3)

    def forward(self, x: Tensor) -> SimpleNamespace:
        masks = self.net(x)
        classes = torch.tensor([[2.0, 0, 0], [0, 2, 0], [0, 1, 0]]).expand(len(x), -1, -1)
        return SimpleNamespace(class_queries_logits=classes, masks_queries_logits=masks)


def _of_queries(images: Tensor) -> Tensor:
    made = Queries()(images)
    scores = query_scores(made.class_queries_logits, made.masks_queries_logits)
    return scores[:, 1:] - scores[:, :1]


def _grey(images: Tensor) -> Tensor:
    made: Tensor = net(1)((images * _LUMA).sum(1, keepdim=True))
    return made


def _grey_unet(images: Tensor) -> Tensor:
    made: Tensor = _unet()((images * _LUMA).sum(1, keepdim=True))
    return made


def _unet() -> nn.Module:
    from monai.networks.nets import UNet

    with seeded(0):
        return UNet(2, 1, 1, (4, 8), (2,)).eval()


def _write_torchscript(module: nn.Module, channels: int = 3) -> None:
    torch.jit.trace(module, torch.zeros(1, channels, SIDE, SIDE)).save("net.ts")


def _write_program(module: nn.Module) -> None:
    torch.export.save(torch.export.export(module, (torch.zeros(1, 3, SIDE, SIDE),)), "net.pt2")


def _write_onnx(module: nn.Module) -> None:
    torch.onnx.export(
        module, (torch.zeros(1, 3, SIDE, SIDE),), "net.onnx", dynamo=False, input_names=["x"]
    )


def _write_bundle(**more: Any) -> None:
    for folder in ("configs", "models"):
        Path("bundle", folder).mkdir(parents=True)
    network = {
        "_target_": "UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 1,
        "channels": [4, 8], "strides": [2], **more,
    }  # fmt: skip
    image = {"num_channels": 1, "spatial_shape": ["*", "*"], "value_range": [0, 1]}
    pred = {"num_channels": 1, "channel_def": {"0": "heart"}}
    form = {"inputs": {"image": image}, "outputs": {"pred": pred}}
    written = {"inference": {"network_def": network}, "metadata": {"network_data_format": form}}
    for name, values in written.items():
        Path("bundle/configs", f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    torch.save(_unet().state_dict(), "bundle/models/model.pt")


def _write_state_dict() -> None:
    Path("net.py").write_text(SOURCE, encoding="utf-8")
    prefixed = {f"model.{name}": value for name, value in net().state_dict().items()}
    torch.save({"state_dict": prefixed, "epoch": 3}, "net.ckpt")


def _write_calls() -> None:
    Path("net.py").write_text(SOURCE, encoding="utf-8")


def _load(name: str, true: Callable[[Tensor], Tensor], **options: Any) -> str:
    """Load a file, and compare its logits and gradient with those of the network."""
    base, trust = options.pop("base", None), options.pop("trust_code", False)
    return _seen(pp.load_model(name, base=base, trust_code=trust, options=options), true)


def _wrapped(make: Callable[[], nn.Module], true: Callable[[Tensor], Tensor], **more: Any) -> str:
    return _seen(pp.wrap(make(), name="net", **more), true)


def _seen(model: Any, true: Callable[[Tensor], Tensor]) -> str:
    """What a model answers, compared with the network that was written."""
    wanted, found = true(IMAGES), model(IMAGES)
    if not wanted.is_floating_point():
        same = torch.equal(found[:, 0] > 0, wanted.bool())
        return f"{'same' if same else 'other'} labels, {_without_gradient(model)}"
    if not _near(found, wanted):
        return "other logits"
    settings = {**model.calling.told, "input_size": model.preprocessing.size}
    settings.pop("call", None)
    read = ", ".join(f"`{name}={value}`" for name, value in settings.items() if value)
    same = _near(_gradient(model), _gradient(true))
    told = "same logits and gradient" if same else "same logits, other gradient"
    return told + f"; {read}" * bool(read)


def _without_gradient(model: Any) -> str:
    try:
        _gradient(model)
    except RuntimeError:
        return "no gradient"
    return "a gradient"


def _near(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _ALLOWED * max(1e-6, other.abs().max().item()))


def _gradient(model: Callable[[Tensor], Tensor]) -> Tensor:
    points = IMAGES.clone().requires_grad_()
    return torch.autograd.grad(model(points).sum(), points)[0]


def _file(
    name: str,
    path: str,
    write: Callable[[], Any],
    true: Callable[[Tensor], Tensor],
    needs: tuple[str, ...] = (),
    **options: Any,
) -> Kind:
    return Kind(name, write, partial(_load, path, true), options, needs)


def _module(
    name: str,
    make: Callable[[], nn.Module],
    true: Callable[[Tensor], Tensor],
    **options: Any,
) -> Kind:
    return Kind(name, _write_calls, partial(_wrapped, make, true), options)


_ONNX = ("onnx", "onnx2fx", "onnxruntime")
NETWORKS = (
    _file("TorchScript", "net.ts", lambda: _write_torchscript(net()), net()),
    _file("TorchScript, grey", "net.ts", lambda: _write_torchscript(net(1), 1), _grey),
    _file("TorchScript that returns labels (argmax)", "net.ts",
          lambda: _write_torchscript(Labels()), Labels()),
    _file("`torch.export`, one image of one size", "net.pt2", lambda: _write_program(net()), net()),
    _file("ONNX, one image of one size", "net.onnx", lambda: _write_onnx(net()), net(),
          needs=_ONNX),
    _file("MONAI bundle, grey", "bundle", _write_bundle, _grey_unet),
    _file("MONAI bundle with an expression of Python", "bundle",
          lambda: _write_bundle(dropout="$1 - 1"), _grey_unet, trust_code=True),
    _file("state dict, from Lightning", "net.ckpt", _write_state_dict, net(),
          base="net.py:make"),
    _file("whole network, pickled", "net.pt", lambda: torch.save(net(), "net.pt"), net(),
          trust_code=True),
    _module("module that reads grey images", lambda: net(1), _grey, channels=1),
    _module("module that reads a dictionary", Named, net(), call="net.py:call"),
    _module("module with a second input", Spaced, net(), call="net.py:spaced"),
    _module("module that returns classes and masks of queries", Queries, _of_queries,
            call="net.py:queries", out="classes"),
)  # fmt: skip
