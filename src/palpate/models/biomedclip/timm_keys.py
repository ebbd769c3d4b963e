"""Rename the tensors of timm's ViT in open_clip's checkpoints for palpate's image encoder."""

import re
from collections.abc import Mapping

from torch import Tensor

from palpate.models.clip.config import VisionConfig

_TRUNK, _TOWER = "visual.trunk", "clip.vision_model"
_HEAD = 64  # width of an attention head in timm's small, base and large ViTs

_BLOCK = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.proj": "self_attn.out_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def config_of_tower(state: Mapping[str, Tensor]) -> VisionConfig:
    """Infer the configuration of the image encoder from its weights.

    Raises:
        KeyError: If a tensor that determines a size is missing.
    """
    patches = state[f"{_TRUNK}.patch_embed.proj.weight"]
    width, patch = patches.shape[0], patches.shape[-1]
    pattern = re.compile(rf"{re.escape(_TRUNK)}\.blocks\.(\d+)\.")
    blocks = {found[1] for name in state if (found := pattern.match(name))}
    places = state[f"{_TRUNK}.pos_embed"].shape[1] - 1
    return VisionConfig(
        hidden_size=width,
        intermediate_size=len(state[f"{_TRUNK}.blocks.0.mlp.fc1.weight"]),
        num_hidden_layers=len(blocks),
        num_attention_heads=max(1, width // _HEAD),
        image_size=round(places**0.5) * patch,
        patch_size=patch,
        hidden_act="gelu",
        layer_norm_eps=1e-6,
    )


def rename_vit(state: dict[str, Tensor], config: VisionConfig) -> dict[str, Tensor]:
    """Rename the image encoder's tensors to palpate's names, and remove them from ``state``.

    Args:
        state: Weights under open_clip's names; changed in place.
        config: Configuration of the image encoder.

    Raises:
        KeyError: If a tensor is missing.
    """
    positions = state.pop(f"{_TRUNK}.pos_embed")[0].clone()
    # CLIP's patch embedding has no bias, so it is added to the patches' position embeddings.
    positions[1:] += state.pop(f"{_TRUNK}.patch_embed.proj.bias")
    ours = {
        f"{_TOWER}.embeddings.class_embedding": state.pop(f"{_TRUNK}.cls_token").flatten(),
        f"{_TOWER}.embeddings.patch_embedding.weight": state.pop(
            f"{_TRUNK}.patch_embed.proj.weight"
        ),
        f"{_TOWER}.embeddings.position_embedding.weight": positions,
        f"{_TOWER}.post_layernorm.weight": state.pop(f"{_TRUNK}.norm.weight"),
        f"{_TOWER}.post_layernorm.bias": state.pop(f"{_TRUNK}.norm.bias"),
    }
    for layer in range(config.num_hidden_layers):
        old, new = f"{_TRUNK}.blocks.{layer}", f"{_TOWER}.encoder.layers.{layer}"
        for kind in ("weight", "bias"):
            joint = state.pop(f"{old}.attn.qkv.{kind}")
            for part, name in zip(joint.chunk(3), "qkv", strict=True):
                ours[f"{new}.self_attn.{name}_proj.{kind}"] = part
            for theirs, name in _BLOCK.items():
                ours[f"{new}.{name}.{kind}"] = state.pop(f"{old}.{theirs}.{kind}")
    return {name: tensor.contiguous() for name, tensor in ours.items()}
