"""Build a CLIPSeg with a DINOv2 image encoder, for use where CLIP's weights are not available.

DINOv2 (Oquab et al., 2023, https://arxiv.org/abs/2304.07193) differs from CLIP's image encoder in
three ways, which the conversion handles as follows:

- Each residual branch has a layer scale, which is folded into the last projection of the branch.
- The patch embedding has a bias, which is added to the position embeddings.
- There is no layer norm before the first block; it is replaced by the identity.

Text encoder and decoder have random weights and must be trained, see :mod:`palpate.training`.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from palpate.atomic import write_text
from palpate.models.clip.config import ClipSegConfig, TextConfig, VisionConfig
from palpate.models.clip.tokenizer import FILES, has_tokenizer
from palpate.models.clip.towers import TextTower
from palpate.models.clipseg.clipseg import CLIPSeg
from palpate.models.files.weights import (
    check_keys,
    check_shapes,
    find_model,
    read_json,
    read_weights,
    write_weights,
)
from palpate.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from palpate.randomness import seeded

# CLIP's names of the layers in a block, and DINOv2's names in transformers 4 and 5.
_BLOCK = {
    "self_attn.q_proj": ("attention.attention.query", "attention.q_proj"),
    "self_attn.k_proj": ("attention.attention.key", "attention.k_proj"),
    "self_attn.v_proj": ("attention.attention.value", "attention.v_proj"),
    "self_attn.out_proj": ("attention.output.dense", "attention.o_proj"),
    "layer_norm1": ("norm1",),
    "layer_norm2": ("norm2",),
    "mlp.fc1": ("mlp.fc1",),
    "mlp.fc2": ("mlp.fc2",),
}
_SCALED = {"self_attn.out_proj": "layer_scale1.lambda1", "mlp.fc2": "layer_scale2.lambda1"}


@dataclass(frozen=True)
class NewParts:
    """Sizes of the text encoder and the decoder, which DINOv2 does not have.

    Attributes:
        text_width: Width of the text encoder and of the joint embedding space.
        text_layers: Number of transformer blocks in the text encoder.
        text_heads: Number of attention heads in the text encoder.
        vocabulary: Number of tokens in the vocabulary; CLIP has 49,408.
        end_of_text: Id of the end-of-text token.
        extract_layers: Indices of the image blocks whose outputs the decoder reads, from 0.
        reduce_dim: Width of the decoder.
        decoder_hidden: Hidden width of the decoder's MLPs. The default is smaller than CLIPSeg's
            2048, which makes attacks on a CPU faster.
        input_size: Side of the network's square input in pixels, a multiple of the patch size.
    """

    text_width: int = 256
    text_layers: int = 4
    text_heads: int = 4
    vocabulary: int = 49408
    end_of_text: int = 49407
    extract_layers: tuple[int, ...] = (3, 6, 9)
    reduce_dim: int = 64
    decoder_hidden: int = 512
    input_size: int = 224


def build_from_dinov2(
    backbone: str | Path,
    tokenizer: str | Path,
    out: Path,
    *,
    parts: NewParts | None = None,
    seed: int = 0,
) -> Path:
    """Write a CLIPSeg with DINOv2's image encoder and a random text encoder and decoder.

    Args:
        backbone: DINOv2 in Hugging Face's layout (``Dinov2Model``), a hub name or folder.
        tokenizer: Folder with CLIP's ``vocab.json`` and ``merges.txt``, or ``tokenizer.json``.
        out: Output folder, which can be loaded with ``load_model``.
        parts: Sizes of text encoder and decoder.
        seed: Seed of the random weights.

    Returns:
        ``out``.

    Raises:
        FileNotFoundError: If backbone or tokenizer is missing.
        ValueError: If the backbone is not a DINOv2, its weights do not fit, or the input size is
            not a multiple of its patch size.
        FileExistsError: If ``out`` is the backbone's own folder.
    """
    parts = parts or NewParts()
    folder, texts = find_model(backbone), Path(tokenizer)
    if not has_tokenizer(texts):
        raise FileNotFoundError(f"{texts} has no vocab.json with merges.txt and no tokenizer.json.")
    if out.exists() and out.samefile(folder):
        raise FileExistsError(f"{out} holds the backbone itself; choose another folder to write.")
    config = _config(read_json(folder / "config.json"), parts, folder)
    with seeded(seed):
        net = CLIPSeg(config)
    assert isinstance(net.clip.text_model, TextTower)
    _initialise_embeddings(net.clip.text_model, seed)
    state = net.state_dict()
    state.update(_read_tower(folder, net))
    _write(out, config, state, parts, texts)
    return out


def to_clip_keys(state: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Convert the weights of a ``Dinov2Model`` to those of CLIP's image encoder.

    Layer scales and patch bias are folded into other weights, see the docstring of this module.

    Args:
        state: Weights of the ``Dinov2Model``.
        layers: Number of transformer blocks.

    Raises:
        KeyError: If a tensor is missing.
    """
    state = {k.removeprefix("dinov2."): v for k, v in state.items()}
    tower = "clip.vision_model"
    positions = state["embeddings.position_embeddings"][0].clone()
    positions[1:] += state["embeddings.patch_embeddings.projection.bias"]
    new = {
        f"{tower}.embeddings.class_embedding": state["embeddings.cls_token"].flatten(),
        f"{tower}.embeddings.patch_embedding.weight": state[
            "embeddings.patch_embeddings.projection.weight"
        ],
        f"{tower}.embeddings.position_embedding.weight": positions,
        f"{tower}.post_layernorm.weight": state["layernorm.weight"],
        f"{tower}.post_layernorm.bias": state["layernorm.bias"],
    }
    for layer in range(layers):
        old = f"encoder.layer.{layer}"
        for ours, theirs in _BLOCK.items():
            names = [f"{old}.{n}" for n in theirs]
            source = next((n for n in names if f"{n}.weight" in state), names[0])
            weight, bias = state[f"{source}.weight"], state[f"{source}.bias"]
            if ours in _SCALED:
                scale = state[f"{old}.{_SCALED[ours]}"]
                weight, bias = scale[:, None] * weight, scale * bias
            new[f"{tower}.encoder.layers.{layer}.{ours}.weight"] = weight
            new[f"{tower}.encoder.layers.{layer}.{ours}.bias"] = bias
    return {k: v.contiguous() for k, v in new.items()}


def _read_tower(folder: Path, net: CLIPSeg) -> dict[str, Tensor]:
    """Read the backbone's weights, renamed as in ``net``, and check that they are complete."""
    try:
        found = to_clip_keys(read_weights(folder), net.config.vision.num_hidden_layers)
    except KeyError as error:
        raise ValueError(f"The weights of {folder} lack {error}, which a DINOv2 has.") from error
    own = net.state_dict()
    check_keys([k for k in own if k.startswith("clip.vision_model")], found, str(folder))
    check_shapes(own, found, str(folder))
    return found


def _config(values: dict[str, Any], parts: NewParts, folder: Path) -> ClipSegConfig:
    if values.get("model_type") != "dinov2" or values.get("use_swiglu_ffn"):
        raise ValueError(
            f"Expected a DINOv2 with a plain MLP (ViT-S, B or L) in {folder}, got model_type "
            f"{values.get('model_type')!r}, use_swiglu_ffn {values.get('use_swiglu_ffn')}."
        )
    # Hugging Face omits fields that have their default value.
    width, patch = values.get("hidden_size", 768), values.get("patch_size", 14)
    if parts.input_size % patch:
        raise ValueError(
            f"Expected an input size that patches of {patch} pixels divide, got {parts.input_size}."
        )
    return ClipSegConfig(
        vision=VisionConfig(
            hidden_size=width,
            intermediate_size=int(width * values.get("mlp_ratio", 4)),
            num_hidden_layers=values.get("num_hidden_layers", 12),
            num_attention_heads=values.get("num_attention_heads", 12),
            image_size=values.get("image_size", 224),
            patch_size=patch,
            hidden_act=values.get("hidden_act", "gelu"),
            layer_norm_eps=values.get("layer_norm_eps", 1e-6),
        ),
        text=TextConfig(
            vocab_size=parts.vocabulary,
            hidden_size=parts.text_width,
            intermediate_size=4 * parts.text_width,
            num_hidden_layers=parts.text_layers,
            num_attention_heads=parts.text_heads,
            eos_token_id=parts.end_of_text,
        ),
        projection_dim=parts.text_width,
        extract_layers=parts.extract_layers,
        reduce_dim=parts.reduce_dim,
        decoder_intermediate_size=parts.decoder_hidden,
        use_complex_transposed_convolution=True,
        pre_layer_norm=False,
    )


def _initialise_embeddings(tower: TextTower, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for table in (tower.embeddings.token_embedding, tower.embeddings.position_embedding):
        nn.init.normal_(table.weight, std=0.02, generator=generator)


def _write(
    out: Path, config: ClipSegConfig, state: dict[str, Tensor], parts: NewParts, texts: Path
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_weights(state, out / "model.safetensors")
    write_text(out / "config.json", json.dumps(config.to_hf(), indent=2) + "\n")
    processor = {
        "size": {"height": parts.input_size, "width": parts.input_size},
        "image_mean": IMAGENET_MEAN,
        "image_std": IMAGENET_STD,
    }
    write_text(out / "preprocessor_config.json", json.dumps(processor, indent=2) + "\n")
    for name in FILES:
        if (texts / name).is_file():
            shutil.copyfile(texts / name, out / name)
