"""Initialise a small image encoder from the weights of a large one, before distillation.

Weight selection (Xu et al., 2023, https://arxiv.org/abs/2311.18823): the small transformer gets the
first blocks of the large one, and evenly spaced rows and columns of its weight matrices. The same
channels are selected in all blocks, so each block reads the channels that the previous one writes.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from palpate.atomic import write_text
from palpate.models.clip.config import ClipSegConfig, VisionConfig
from palpate.models.clipseg.clipseg import CLIPSeg
from palpate.models.files.weights import read_json, read_weights, write_weights
from palpate.models.from_backbone.directory import copy_description
from palpate.randomness import seeded

_TOWER = "clip.vision_model"


@dataclass(frozen=True)
class StudentSize:
    """Size of the small image encoder.

    Attributes:
        width: Width of the encoder (channels of the residual stream), at most the teacher's.
        layers: Number of transformer blocks; they are the first blocks of the teacher.
        heads: Number of attention heads. Whole heads are selected, so the width of a head,
            ``width / heads``, must be the same as in the teacher.
    """

    width: int = 192
    layers: int = 10
    heads: int = 3


def shrink(teacher: Path, out: Path, size: StudentSize | None = None, *, seed: int = 0) -> Path:
    """Write a copy of a CLIPSeg with a smaller image encoder, initialised from the original one.

    Weights of text encoder and decoder are copied if their shapes fit, and random otherwise. The
    tokenizer is copied.

    Args:
        teacher: Model folder of a CLIPSeg.
        out: Output folder, which can be loaded with ``load_model``.
        size: Size of the small image encoder.
        seed: Seed of the random weights.

    Returns:
        ``out``.

    Raises:
        ValueError: If the teacher is smaller than ``size``, its heads have another width, or the
            decoder reads a block that the small encoder does not have.
    """
    size = size or StudentSize()
    large = ClipSegConfig.from_hf(read_json(teacher / "config.json"))
    config = _smaller(large, size, _side(teacher, large))
    with seeded(seed):
        fresh = CLIPSeg(config).state_dict()
    given = read_weights(teacher)
    kept = {k: v for k, v in given.items() if k in fresh and v.shape == fresh[k].shape}
    tower = _select(given, large.vision, config.vision)
    copy_description(teacher, out)
    write_weights(fresh | kept | tower, out / "model.safetensors")
    write_text(out / "config.json", json.dumps(config.to_hf(), indent=2) + "\n")
    return out


def _smaller(config: ClipSegConfig, size: StudentSize, side: int) -> ClipSegConfig:
    large = config.vision
    if size.width > large.hidden_size or size.layers > large.num_hidden_layers:
        raise ValueError(
            f"Expected a student no wider and no deeper than its teacher ({large.hidden_size} "
            f"channels, {large.num_hidden_layers} blocks), got {size}."
        )
    if size.width * large.num_attention_heads != large.hidden_size * size.heads:
        raise ValueError(
            "Expected heads as wide as the teacher's, "
            f"{large.hidden_size // large.num_attention_heads} channels each, got {size}."
        )
    vision = replace(
        large,
        hidden_size=size.width,
        intermediate_size=large.intermediate_size * size.width // large.hidden_size,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        image_size=side,
    )
    return replace(config, vision=vision)


def _side(teacher: Path, config: ClipSegConfig) -> int:
    """Side of the network's input in pixels, which determines the grid of position embeddings."""
    size = read_json(teacher / "preprocessor_config.json").get("size", {})
    return int(size.get("height", config.vision.image_size))


def _select(
    given: dict[str, Tensor], large: VisionConfig, small: VisionConfig
) -> dict[str, Tensor]:
    """Select rows and columns from the weights of the teacher's image encoder."""
    channels = _spread(large.hidden_size, small.hidden_size)
    hidden = _spread(large.intermediate_size, small.intermediate_size)
    inner = _whole_heads(large, small)
    cut: dict[str, Tensor] = {}
    for name, value in given.items():
        if not name.startswith(_TOWER) or _is_beyond(name, small.num_hidden_layers):
            continue
        if name.endswith("position_embedding.weight"):
            cut[name] = _resized(value, small.image_size // small.patch_size)[:, channels]
        elif "patch_embedding" in name or (value.dim() == 1 and "layer_norm" in name):
            cut[name] = value[channels]
        else:
            cut[name] = _cut(name, value, channels, hidden, inner)
    return {name: value.contiguous() for name, value in cut.items()}


def _cut(name: str, value: Tensor, channels: Tensor, hidden: Tensor, inner: Tensor) -> Tensor:
    """Reduce a matrix or bias of a block along its axes, which its name identifies."""
    part = name.split(".")[-2]
    outputs = {"q_proj": inner, "k_proj": inner, "v_proj": inner, "fc1": hidden}.get(part, channels)
    inputs = {"out_proj": inner, "fc2": hidden}.get(part, channels)
    return value[outputs] if value.dim() == 1 else value[outputs][:, inputs]


def _whole_heads(large: VisionConfig, small: VisionConfig) -> Tensor:
    """Indices of the channels of evenly spaced whole heads."""
    wide = large.hidden_size // large.num_attention_heads
    heads = _spread(large.num_attention_heads, small.num_attention_heads)
    return (heads[:, None] * wide + torch.arange(wide)).flatten()


def _spread(length: int, count: int) -> Tensor:
    """``count`` evenly spaced indices below ``length``, starting at 0.

    >>> _spread(6, 3).tolist()
    [0, 2, 4]
    """
    return torch.arange(count) * length // count


def _is_beyond(name: str, layers: int) -> bool:
    parts = name.removeprefix(f"{_TOWER}.encoder.layers.").split(".")
    return parts[0].isdigit() and int(parts[0]) >= layers


def _resized(positions: Tensor, side: int) -> Tensor:
    """Interpolate position embeddings ``(1 + n, d)`` to a grid of ``side`` x ``side`` patches."""
    old = round((len(positions) - 1) ** 0.5)
    if old == side:
        return positions
    grid = positions[1:].T.reshape(1, -1, old, old)
    grid = F.interpolate(grid, (side, side), mode="bicubic", align_corners=False)
    return torch.cat([positions[:1], grid.flatten(2)[0].T])
