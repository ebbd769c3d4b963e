"""Rename the tensors in checkpoints of VLSM-Adapter and MedVLSM.

The published networks (Dhakal et al., 2024, https://arxiv.org/abs/2405.06196) contain a complete
CLIPSeg under the name ``clipseg``, and one list of modules per kind of adapter. Those of MedVLSM
have no adapters.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from palpate.models.clip.config import ClipSegConfig
from palpate.models.clipseg.adapters import ADAPTERS
from palpate.models.request import AdapterName

NETWORK = "clipseg."
MARKS = ("clipseg.clip.", "clipseg.decoder.")

_LISTS = {
    "v_attn_adapters": "clip.vision_model.encoder.layers.{}.after_attention",
    "v_out_adapters": "clip.vision_model.encoder.layers.{}.after_mlp",
    "l_attn_adapters": "clip.text_model.encoder.layers.{}.after_attention",
    "l_out_adapters": "clip.text_model.encoder.layers.{}.after_mlp",
    "vision_extract_adapters": "tap_slots.{}",
    "text_extract_adapters": "text_slots.{}",
}
_CONDITION = "cond_adapter."
_LAYERS = {"fc1": "down", "fc2": "up"}
# Prefix of tensors that the shallow network stores a second time: CLIP, without ``clipseg.``.
_TWICE = "clip."


def rename(
    state: Mapping[str, Tensor], config: ClipSegConfig
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split a checkpoint into the tensors of CLIPSeg and of the adapters, under palpate's names.

    Unknown tensors are returned unchanged with those of CLIPSeg, where the check of the names
    refuses them.
    """
    clipseg: dict[str, Tensor] = {}
    adapters: dict[str, Tensor] = {}
    for name, tensor in state.items():
        ours = _adapter_name(name, config)
        if ours is not None:
            adapters[ours] = tensor
        elif not (name.startswith(_TWICE) and NETWORK + name in state):
            clipseg[name.removeprefix(NETWORK)] = tensor
    return clipseg, adapters


def adapter_of(state: Mapping[str, Tensor]) -> tuple[AdapterName | None, int | None]:
    """Infer the name and width of the adapter in a checkpoint; both None without adapters.

    Raises:
        ValueError: If palpate does not support these adapters, or the tensor that determines their
            width is missing.
    """
    lists = {name.split(".")[0] for name in state} & {*_LISTS, _CONDITION.removesuffix(".")}
    if not lists:
        return None, None
    dense, shallow = lists & {"v_attn_adapters"}, lists & {"vision_extract_adapters"}
    text, condition = lists & {"l_attn_adapters", "text_extract_adapters"}, "cond_adapter" in lists
    kind = "dense" if dense else "shallow"
    reach = "v" + ("l" if text else "") + ("c" if condition else "")
    found = next((name for name in ADAPTERS if name == f"{kind}-{reach}"), None)
    if found is None or bool(dense) == bool(shallow):
        raise ValueError(
            f"Expected adapters in the image tower, then the text tower, then the condition, got "
            f"{', '.join(sorted(lists))}."
        )
    first = "v_attn_adapters" if dense else "vision_extract_adapters"
    bias = state.get(f"{first}.0.fc1.bias")
    if bias is None or bias.dim() != 1:
        got = "none" if bias is None else f"shape {tuple(bias.shape)}"
        raise ValueError(
            f"Expected {first}.0.fc1.bias with one axis, whose length is the width of the "
            f"adapters, got {got}."
        )
    return found, len(bias)


def _adapter_name(name: str, config: ClipSegConfig) -> str | None:
    if name.startswith(_CONDITION):
        return _layer_name("condition_slot", name.removeprefix(_CONDITION))
    found = re.fullmatch(r"(\w+)\.(\d+)\.(fc[12]\.\w+)", name)
    if found is None or found[1] not in _LISTS:
        return None
    number = int(found[2])
    if found[1] == "text_extract_adapters" and number < len(config.extract_layers):
        number = config.extract_layers[number]  # palpate names text slots after their layers
    return _layer_name(_LISTS[found[1]].format(number), found[3])


def _layer_name(place: str, rest: str) -> str:
    layer, _, kind = rest.partition(".")
    return f"{place}.{_LAYERS.get(layer, layer)}.{kind}"
