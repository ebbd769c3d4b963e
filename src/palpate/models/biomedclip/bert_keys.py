"""Rename the tensors of BERT in open_clip's checkpoints for palpate's text encoder."""

import re
from collections.abc import Mapping

from torch import Tensor

from palpate.models.clip.config import BertConfig

_BERT, _TOWER = "text.transformer", "clip.text_model"
_HEAD = 64  # width of an attention head in BERT-base and BERT-large

_BLOCK = {
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "layer_norm1",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "output.LayerNorm": "layer_norm2",
}


def config_of_bert(state: Mapping[str, Tensor]) -> BertConfig:
    """Infer the configuration of the text encoder from its weights.

    Raises:
        KeyError: If a tensor that determines a size is missing.
    """
    vocabulary, width = state[f"{_BERT}.embeddings.word_embeddings.weight"].shape
    pattern = re.compile(rf"{re.escape(_BERT)}\.encoder\.layer\.(\d+)\.")
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=len(state[f"{_BERT}.encoder.layer.0.intermediate.dense.weight"]),
        num_hidden_layers=len({found[1] for name in state if (found := pattern.match(name))}),
        num_attention_heads=max(1, width // _HEAD),
        max_position_embeddings=len(state[f"{_BERT}.embeddings.position_embeddings.weight"]),
    )


def rename_bert(state: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Rename the text encoder's tensors to palpate's names, and remove them from ``state``.

    Args:
        state: Weights under open_clip's names; changed in place.
        layers: Number of transformer blocks.

    Raises:
        KeyError: If a tensor is missing.
    """
    embeddings = f"{_BERT}.embeddings"
    places = state.pop(f"{embeddings}.position_embeddings.weight")
    # All tokens belong to the first segment, so its embedding is added to every position.
    places = places + state.pop(f"{embeddings}.token_type_embeddings.weight")[0]
    ours = {
        f"{_TOWER}.embeddings.token_embedding.weight": state.pop(
            f"{embeddings}.word_embeddings.weight"
        ),
        f"{_TOWER}.embeddings.position_embedding.weight": places,
    }
    for kind in ("weight", "bias"):
        ours[f"{_TOWER}.embeddings.layer_norm.{kind}"] = state.pop(f"{embeddings}.LayerNorm.{kind}")
        for layer in range(layers):
            old, new = f"{_BERT}.encoder.layer.{layer}", f"{_TOWER}.encoder.layers.{layer}"
            for theirs, name in _BLOCK.items():
                ours[f"{new}.{name}.{kind}"] = state.pop(f"{old}.{theirs}.{kind}")
    return {name: tensor.contiguous() for name, tensor in ours.items()}
