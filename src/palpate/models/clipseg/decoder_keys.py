"""Rename the decoder weights published by CLIPSeg's authors (``rd64-uni.pth``).

These files contain only the decoder, not CLIP (Lüddecke & Ecker, 2022,
https://arxiv.org/abs/2112.10003).
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

MARKS = ("film_mul.", "reduces.", "blocks.", "trans_conv.")

_BLOCK = {
    "self_attn.out_proj": "self_attn.out_proj",
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "linear1": "mlp.fc1",
    "linear2": "mlp.fc2",
}
# A layer of the original network that its forward pass never uses.
_IDLE = "reduce."


def rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename all tensors to palpate's names.

    Unknown tensors get the prefix ``decoder.``, so that the check of the names refuses them.
    """
    ours: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith("blocks.") and name.count(".") > 1:
            _, number, rest = name.split(".", 2)
            ours |= _of_block(f"decoder.layers.{number}", rest, tensor)
        elif not name.startswith(_IDLE):
            ours[f"decoder.{name.replace('trans_conv.', 'transposed_convolution.')}"] = tensor
    return ours


def sizes_of_decoder(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Infer the decoder's sizes from its weights, as fields of Hugging Face's configuration.

    Raises:
        KeyError: If a tensor that determines a size is missing.
    """
    return {
        "reduce_dim": len(state["film_mul.weight"]),
        "decoder_intermediate_size": len(state["blocks.0.linear1.weight"]),
        "use_complex_transposed_convolution": "trans_conv.0.weight" in state,
    }


def _of_block(place: str, rest: str, tensor: Tensor) -> dict[str, Tensor]:
    if rest.startswith("self_attn.in_proj_"):  # one matrix for query, key and value: split it
        kind = rest.removeprefix("self_attn.in_proj_")
        thirds = zip("qkv", tensor.chunk(3), strict=True)
        return {f"{place}.self_attn.{which}_proj.{kind}": part.clone() for which, part in thirds}
    layer, _, kind = rest.rpartition(".")
    return {f"{place}.{_BLOCK.get(layer, layer)}.{kind}": tensor}
