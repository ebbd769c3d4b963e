"""Adapters: small trainable modules inside a frozen CLIPSeg.

The adapters of VLSM-Adapter (Dhakal et al., 2024, https://arxiv.org/abs/2405.06196) are named after
the places where they are inserted::

    dense-*    in every encoder block below the deepest tap, after attention and after the MLP,
               each before its residual addition (width 64)
    shallow-*  on each tap, between the frozen encoder and the decoder (width 512)
    *-v        image encoder only
    *-vl       image and text encoder
    *-vlc      both, and the projected text that conditions the decoder (width 256)

``telescopic-*`` are dense adapters whose width grows with depth, in equal steps up to 64 (Mishra et
al., 2025, https://arxiv.org/abs/2512.13855; the steps are ours). ``lora-v`` and ``lora-vl`` add
low-rank matrices to weights, see :mod:`palpate.models.clipseg.lora` (rank 8).

By default a new adapter is the identity, because its up-projection is initialised to zero.
``init="paper"`` selects the published form: PyTorch's default initialisation and another ReLU after
the up-projection. Then the update is never negative, and a new adapter already changes the output.
"""

from collections.abc import Sequence
from typing import get_args

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from palpate.models.clipseg.clipseg import CLIPSeg
from palpate.models.clipseg.lora import insert_lora, is_lora
from palpate.models.request import AdapterInit, AdapterName

ADAPTERS: tuple[AdapterName, ...] = get_args(AdapterName)
INITS: tuple[AdapterInit, ...] = get_args(AdapterInit)

_WIDTHS = {"dense": 64, "telescopic": 64, "shallow": 512, "lora": 8, "condition": 256}


class Adapter(nn.Module):
    """Bottleneck adapter ``x + up(gelu(down(x)))``.

    From Houlsby et al., 2019, https://arxiv.org/abs/1902.00751. The published form of VLSM-Adapter
    is ``x + relu(up(relu(down(x))))``.

    Args:
        features: Number of input and output features.
        width: Width of the bottleneck.
        init: ``"identity"``, or ``"paper"`` for the published form.
        skip: Add the input to the output; if False, return only the update.
    """

    def __init__(
        self, features: int, width: int, init: AdapterInit = "identity", *, skip: bool = True
    ) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(features, width), nn.Linear(width, features)
        self.published, self.skip = init == "paper", skip
        if not self.published:
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)

    def forward(self, x: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes d"]:
        if self.published:
            update: Tensor = F.relu(self.up(F.relu(self.down(x))))
        else:
            update = self.up(F.gelu(self.down(x)))
        return x + update if self.skip else update


def adapt(
    net: CLIPSeg, name: AdapterName, *, init: AdapterInit = "identity", width: int | None = None
) -> None:
    """Freeze a network and insert trainable adapters, in place.

    Args:
        net: A CLIPSeg without adapters.
        name: Name of the adapter, see the docstring of this module.
        init: ``"identity"``: new adapters do not change the output; ``"paper"``: the published
            form.
        width: Width of the bottleneck, or rank of LoRA. Defaults: 64 for dense adapters, 64 in the
            deepest block for telescopic ones, 512 for shallow ones, and rank 8 for LoRA. The
            adapter of the condition always has width 256.

    Raises:
        ValueError: If name, form or width is not valid, ``net`` already has adapters, or its text
            encoder does not support them. ``net`` is then unchanged.
    """
    _check(net, name, init, width)
    kind, reach = name.split("-")
    net.requires_grad_(False)
    size, text = _WIDTHS[kind] if width is None else width, "l" in reach
    if kind == "lora":
        insert_lora(net, size, text=text)
    elif kind == "shallow":
        _insert_shallow(net, size, init, text=text)
    else:
        _insert_dense(net, size, init, text=text, growing=kind == "telescopic")
    if "c" in reach:
        net.condition_slot = Adapter(net.config.projection_dim, _WIDTHS["condition"], init)
    # Weights are drawn on the CPU, so that a seed gives the same ones on every device.
    net.to(net.decoder.film_mul.weight.device)


def adapter_state(net: nn.Module) -> dict[str, Tensor]:
    """The part of the state dict that belongs to adapters, LoRA included."""
    places = [f"{name}." for name, part in net.named_modules() if isinstance(part, Adapter)]
    return {k: v for k, v in net.state_dict().items() if k.startswith(tuple(places)) or is_lora(k)}


def text_layer(layer: int, net: CLIPSeg) -> int:
    """Index of the text layer at the same relative depth as a layer of the image encoder.

    Both encoders of a published CLIPSeg have twelve layers, so there the two indices are equal.
    """
    return layer * net.config.text.num_hidden_layers // net.config.vision.num_hidden_layers


def _check(net: CLIPSeg, name: str, init: str, width: int | None) -> None:
    if name not in ADAPTERS:
        raise ValueError(f"Expected an adapter of {', '.join(ADAPTERS)}, got {name!r}.")
    if name.startswith("lora") and init == "paper":
        raise ValueError(f"Expected init 'identity' for {name}, which has no other, got 'paper'.")
    if init not in INITS:
        raise ValueError(f"Expected init to be one of {', '.join(INITS)}, got {init!r}.")
    if width is not None and width < 1:
        raise ValueError(f"Expected an adapter width >= 1, got {width}.")
    if adapter_state(net):
        raise ValueError("This model already has adapters; load it anew to choose others.")
    text, joint = net.config.text.hidden_size, net.config.projection_dim
    if name in ("shallow-vl", "shallow-vlc") and text != joint:
        raise ValueError(
            "Shallow text adapters add text states to the projected text, so they need a text "
            f"tower as wide as the projection; got {text} and {joint}. Use a dense adapter."
        )


def telescope(width: int, blocks: int) -> list[int]:
    """Widths of telescopic adapters: they grow with depth in equal steps, up to ``width``.

    >>> telescope(64, 9)
    [7, 14, 21, 28, 36, 43, 50, 57, 64]
    """
    return [max(1, round(width * (block + 1) / blocks)) for block in range(blocks)]


def _insert_dense(
    net: CLIPSeg, width: int, init: AdapterInit, *, text: bool, growing: bool
) -> None:
    # As published, the deepest tapped block itself gets no adapter.
    depth = max(net.config.extract_layers)
    towers = [(net.clip.vision_model.encoder, depth, net.config.vision.hidden_size)]
    if text:
        towers.append(
            (net.clip.text_model.encoder, text_layer(depth, net), net.config.text.hidden_size)
        )
    for encoder, blocks, features in towers:
        widths: Sequence[int] = telescope(width, blocks) if growing else [width] * blocks
        for block, size in zip(encoder.layers[:blocks], widths, strict=True):
            block.after_attention = Adapter(features, size, init)
            block.after_mlp = Adapter(features, size, init)


def _insert_shallow(net: CLIPSeg, width: int, init: AdapterInit, *, text: bool) -> None:
    config = net.config
    net.tap_slots = nn.ModuleList(
        Adapter(config.vision.hidden_size, width, init) for _ in config.extract_layers
    )
    if not text:
        return
    # In a text encoder much shallower than the image encoder, several taps map to the same layer.
    for layer in dict.fromkeys(text_layer(tap, net) for tap in config.extract_layers):
        # The published form adds x + update to the condition, not only the update.
        net.text_slots[str(layer)] = Adapter(
            config.text.hidden_size, width, init, skip=init == "paper"
        )
