"""The forward pass of VLSM-Adapter as published, written anew in plain tensor arithmetic.

Only embeddings, projections and decoder are Hugging Face's; attention, blocks and adapters are
spelt out here, so that nothing is shared with what is tested.
"""

import torch
from torch.nn import functional as F


def logits(hf, adapters, name, pixels, tokens):
    """Logits of a CLIPSeg with published adapters.

    Args:
        hf: Hugging Face's model.
        adapters: The adapters' tensors by their names in ours.
        name: ``dense-`` or ``shallow-`` with ``v``, ``vl`` or ``vlc``.
        pixels: Normalised.
        tokens: Each row ends with the model's end token.
    """
    kind, reach = name.split("-")
    deepest = max(hf.config.extract_layers)
    vision, text = hf.clip.vision_model, hf.clip.text_model
    dense_v = kind in ("dense", "telescopic")
    dense_l = dense_v and "l" in reach

    x = vision.pre_layrnorm(vision.embeddings(pixels, interpolate_pos_encoding=True))
    states = tower(vision, x, adapters, "vision_model", deepest if dense_v else 0)
    taps = [states[layer] for layer in hf.config.extract_layers]
    if kind == "shallow":
        taps = [block(tap, adapters, f"tap_slots.{i}") for i, tap in enumerate(taps)]

    places = torch.arange(tokens.shape[1])
    x = text.embeddings.token_embedding(tokens) + text.embeddings.position_embedding(places)
    states = tower(text, x, adapters, "text_model", deepest if dense_l else 0, causal=True)
    row, end = torch.arange(len(tokens)), tokens.argmax(dim=1)  # the end has the highest number
    condition = hf.clip.text_projection(text.final_layer_norm(states[-1])[row, end])
    if "c" in reach:
        condition = block(condition, adapters, "condition_slot")
    if kind == "shallow" and "l" in reach:
        for layer in hf.config.extract_layers:
            condition = condition + block(states[layer][row, end], adapters, f"text_slots.{layer}")
    return hf.decoder(tuple(taps), condition).logits.unsqueeze(1)


def block(x, adapters, place):
    """x + relu(up(relu(down(x))))."""
    down = x @ adapters[f"{place}.down.weight"].T + adapters[f"{place}.down.bias"]
    up = down.clamp_min(0) @ adapters[f"{place}.up.weight"].T + adapters[f"{place}.up.bias"]
    return x + up.clamp_min(0)


def tower(model, x, adapters, tower_name, adapted, causal=False):
    """Hidden states after every layer; the first ``adapted`` layers have two adapters each."""
    states = []
    for index, layer in enumerate(model.encoder.layers):
        place = f"clip.{tower_name}.encoder.layers.{index}"
        change = attention(layer.self_attn, layer.layer_norm1(x), causal)
        x = x + (block(change, adapters, f"{place}.after_attention") if index < adapted else change)
        hidden = layer.mlp.fc1(layer.layer_norm2(x))
        change = layer.mlp.fc2(hidden / (1 + (-1.702 * hidden).exp()))
        x = x + (block(change, adapters, f"{place}.after_mlp") if index < adapted else change)
        states.append(x)
    return states


def attention(layer, x, causal):
    b, n, d = x.shape
    heads = layer.num_heads

    def split(values):
        return values.view(b, n, heads, d // heads).transpose(1, 2)

    queries, keys = split(layer.q_proj(x)), split(layer.k_proj(x))
    scores = queries @ keys.transpose(2, 3) / (d // heads) ** 0.5
    if causal:
        scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), float("-inf"))
    mixed = F.softmax(scores, dim=-1) @ split(layer.v_proj(x))
    return layer.out_proj(mixed.transpose(1, 2).reshape(b, n, d))
