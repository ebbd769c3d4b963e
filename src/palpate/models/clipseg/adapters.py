"""Adapters: small trainable modules inside a frozen CLIPSeg.

Those of VLSM-Adapter (Dhakal et al., 2024, https://arxiv.org/abs/2405.06196); the name says where
they are inserted::

    dense-*    in every encoder block below the deepest tap, after attention and after the MLP,
               each before its residual addition (width 64)
    shallow-*  on each tap, between the frozen encoder and the decoder (width 512)
    *-v        image encoder only
    *-vl       image and text encoder
    *-vlc      both, and the projected text that conditions the decoder (width 256)

``telescopic-*`` are dense adapters whose width grows with depth, in equal steps up to 64 (Mishra et
al., 2025, https://arxiv.org/abs/2512.13855; the steps are ours). ``lora-v`` and ``lora-vl`` add
low-rank matrices to weights, see :mod:`palpate.models.clipseg.lora` (rank 8).

A new adapter is the identity: its up-projection starts at zero. ``init="paper"`` is the published
form instead: PyTorch's default initialisation and another ReLU after the up-projection, so that the
update is never negative and a new adapter already changes the model.
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
    """A bottleneck after a frozen module: ``x + up(gelu(down(x)))``.

    (Houlsby et al., 2019, https://arxiv.org/abs/1902.00751.) In the published form of VLSM-Adapter
    it is ``x + relu(up(relu(down(x))))``. With ``skip=False`` only the update is returned, and the
    caller adds it.
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
    """Freeze ``net`` and insert adapters, in place; only they require gradient.

    Args:
        net: A CLIPSeg without adapters.
        name: Which adapters, see the docstring of this module.
        init: ``"identity"``: the outputs do not change at first; ``"paper"``: the published form.
        width: Size of the bottleneck: by default the published 64 (dense; of the deepest block,
            telescopic) or 512 (shallow), or rank 8 (LoRA). That of the condition's adapter is
            always 256.

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
    """The parameters of the adapters, by their names in ``net``."""
    places = [f"{name}." for name, part in net.named_modules() if isinstance(part, Adapter)]
    return {k: v for k, v in net.state_dict().items() if k.startswith(tuple(places)) or is_lora(k)}


def text_layer(layer: int, net: CLIPSeg) -> int:
    """The text layer at the same relative depth as a layer of the image encoder.

    Both encoders of a published CLIPSeg have twelve layers, where this is the same number.
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
    """Widths that grow with depth in equal steps, up to the width itself.

    >>> telescope(64, 9)
    [7, 14, 21, 28, 36, 43, 50, 57, 64]
    """
    return [max(1, round(width * (block + 1) / blocks)) for block in range(blocks)]


def _insert_dense(
    net: CLIPSeg, width: int, init: AdapterInit, *, text: bool, growing: bool
) -> None:
    # The deepest tapped block itself is not adapted, as published.
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
    # A text tower much shallower than the image tower has fewer such layers than there are taps.
    for layer in dict.fromkeys(text_layer(tap, net) for tap in config.extract_layers):
        # Published form: the whole of x + update is added, not the update alone.
        net.text_slots[str(layer)] = Adapter(
            config.text.hidden_size, width, init, skip=init == "paper"
        )
