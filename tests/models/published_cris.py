"""CRIS as published, written anew as one function of a state dict.

Nothing is shared with what is tested: attention is PyTorch's own function, with the sequence first
as in the original, and normalisation is spelt out.
"""

import math

import torch
from torch.nn import functional as F


def logits(state, pixels, tokens, *, text_heads, image_heads, decoder_heads, training=False):
    """Logits at the size of the input; ``training`` normalises by the batch, without dropout."""
    net = Reader(state, training)
    levels = image(net, pixels, image_heads)
    words, sentence = text(state, tokens, text_heads)
    features = neck(net, levels, sentence)
    features = decoder(state, features, words, tokens == 0, decoder_heads)
    small = projector(net, features, sentence)
    return F.interpolate(small, pixels.shape[-2:], mode="bicubic", align_corners=True)


class Reader:
    """Convolution and batch normalisation by name."""

    def __init__(self, state, training):
        self.state, self.training = state, training

    def norm(self, name, x):
        shape = [1, -1] + [1] * (x.dim() - 2)
        axes = [axis for axis in range(x.dim()) if axis != 1]
        mean = self.state[f"{name}.running_mean"].view(shape)
        var = self.state[f"{name}.running_var"].view(shape)
        if self.training:
            mean = x.mean(axes, keepdim=True)
            var = (x - mean).square().mean(axes, keepdim=True)
        scaled = (x - mean) / (var + 1e-5).sqrt()
        return scaled * self.state[f"{name}.weight"].view(shape) + self.state[f"{name}.bias"].view(
            shape
        )

    def conv(self, name, x, **options):
        return F.conv2d(x, self.state[f"{name}.weight"], **options)

    def layer(self, name, x, padding=0):
        """Convolution, normalisation, ReLU, as numbered in the neck."""
        return self.norm(f"{name}.1", self.conv(f"{name}.0", x, padding=padding)).clamp_min(0)


def image(net, x, heads):
    top = "backbone.visual"
    for number, stride in ((1, 2), (2, 1), (3, 1)):
        x = net.conv(f"{top}.conv{number}", x, stride=stride, padding=1)
        x = net.norm(f"{top}.bn{number}", x).clamp_min(0)
    x = F.avg_pool2d(x, 2)
    levels = []
    for stage in range(1, 5):
        block = 0
        while f"{top}.layer{stage}.{block}.conv1.weight" in net.state:
            x = bottleneck(net, f"{top}.layer{stage}.{block}", x, halve=stage > 1 and block == 0)
            block += 1
        levels.append(x)
    return levels[1], levels[2], pool(net, f"{top}.attnpool", levels[3], heads)


def bottleneck(net, name, x, halve):
    out = net.norm(f"{name}.bn1", net.conv(f"{name}.conv1", x)).clamp_min(0)
    out = net.norm(f"{name}.bn2", net.conv(f"{name}.conv2", out, padding=1)).clamp_min(0)
    if halve:
        out, x = F.avg_pool2d(out, 2), F.avg_pool2d(x, 2)
    out = net.norm(f"{name}.bn3", net.conv(f"{name}.conv3", out))
    if f"{name}.downsample.0.weight" in net.state:
        x = net.norm(f"{name}.downsample.1", net.conv(f"{name}.downsample.0", x))
    return (out + x).clamp_min(0)


def pool(net, name, x, heads):
    state = net.state
    b, c, h, w = x.shape
    table = state[f"{name}.positional_embedding"][1:]
    side = math.isqrt(len(table))
    table = table.view(side, side, c).permute(2, 0, 1)[None]
    table = F.interpolate(table, (h, w), mode="bicubic", align_corners=False)
    sequence = (x + table).view(b, c, h * w).permute(2, 0, 1)
    weights = [state[f"{name}.{part}_proj.weight"] for part in "qkv"]
    biases = torch.cat([state[f"{name}.{part}_proj.bias"] for part in "qkv"])
    mixed, _ = F.multi_head_attention_forward(
        sequence, sequence, sequence, c, heads, None, biases, None, None, False, 0.0,
        state[f"{name}.c_proj.weight"], state[f"{name}.c_proj.bias"], training=False,
        use_separate_proj_weight=True, q_proj_weight=weights[0], k_proj_weight=weights[1],
        v_proj_weight=weights[2],
    )  # fmt: skip
    kept = net.norm(f"{name}.connect.1", net.conv(f"{name}.connect.0", x))
    return (mixed.permute(1, 2, 0).reshape(b, -1, h, w) + kept).clamp_min(0)


def text(state, tokens, heads):
    top = "backbone"
    n = tokens.shape[1]
    x = state[f"{top}.token_embedding.weight"][tokens] + state[f"{top}.positional_embedding"][:n]
    mask = torch.ones(n, n, dtype=torch.bool).triu(1)
    block = 0
    while f"{top}.transformer.resblocks.{block}.ln_1.weight" in state:
        name = f"{top}.transformer.resblocks.{block}"
        inner = layer_norm(state, f"{name}.ln_1", x)
        x = x + attention(state, f"{name}.attn", inner, inner, inner, heads, mask=mask)
        inner = linear(state, f"{name}.mlp.c_fc", layer_norm(state, f"{name}.ln_2", x))
        x = x + linear(state, f"{name}.mlp.c_proj", inner / (1 + (-1.702 * inner).exp()))
        block += 1
    x = layer_norm(state, f"{top}.ln_final", x)
    last = torch.stack([row[ids.argmax()] for row, ids in zip(x, tokens, strict=True)])
    return x, last @ state[f"{top}.text_projection"]


def neck(net, levels, sentence):
    fine, middle, coarse = levels
    gate = sentence @ net.state["neck.txt_proj.0.weight"].T
    gate = net.norm("neck.txt_proj.1", gate).clamp_min(0)[..., None, None]
    coarse = net.layer("neck.f1_v_proj", coarse) * gate
    coarse = net.norm("neck.norm_layer.0", coarse).clamp_min(0)
    middle = torch.cat([net.layer("neck.f2_v_proj", middle, 1), twice(coarse)], 1)
    middle = net.layer("neck.f2_cat", middle)
    fine = torch.cat([F.avg_pool2d(net.layer("neck.f3_v_proj", fine, 1), 2), middle], 1)
    fine = net.layer("neck.f3_cat", fine)
    x = torch.cat(
        [
            net.layer("neck.f4_proj3", fine, 1),
            net.layer("neck.f4_proj4", middle, 1),
            twice(net.layer("neck.f4_proj5", coarse, 1)),
        ],
        1,
    )
    x = net.layer("neck.aggr", x)
    b, _, h, w = x.shape
    y, z = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    x = torch.cat([x, z.expand(b, 1, h, w), y.expand(b, 1, h, w)], 1)
    return net.layer("neck.coordconv.1", net.layer("neck.coordconv.0.conv1", x, 1), 1)


def decoder(state, features, words, padding, heads):
    b, c, h, w = features.shape
    places = torch.zeros(c, h, w)
    for channel in range(0, c // 2, 2):
        rate = 10000 ** (-channel / (c // 2))
        places[channel] = torch.sin(torch.arange(w) * rate)
        places[channel + 1] = torch.cos(torch.arange(w) * rate)
        places[c // 2 + channel] = torch.sin(torch.arange(h) * rate)[:, None]
        places[c // 2 + channel + 1] = torch.cos(torch.arange(h) * rate)[:, None]
    places = places.view(c, h * w).T
    order = torch.zeros(words.shape[1], c)
    for channel in range(0, c, 2):
        order[:, channel] = torch.sin(torch.arange(words.shape[1]) * 10000 ** (-channel / c))
        order[:, channel + 1] = torch.cos(torch.arange(words.shape[1]) * 10000 ** (-channel / c))
    x = features.view(b, c, h * w).transpose(1, 2)
    layer = 0
    while f"decoder.layers.{layer}.norm1.weight" in state:
        name = f"decoder.layers.{layer}"
        inner = layer_norm(state, f"{name}.norm1", x)
        seen = attention(state, f"{name}.self_attn", inner + places, inner + places, inner, heads)
        x = x + layer_norm(state, f"{name}.self_attn_norm", seen)
        query = layer_norm(state, f"{name}.norm2", x) + places
        told = attention(
            state, f"{name}.multihead_attn", query, words + order, words, heads, padding=padding
        )
        x = x + layer_norm(state, f"{name}.cross_attn_norm", told)
        inner = linear(state, f"{name}.ffn.0", layer_norm(state, f"{name}.norm3", x)).clamp_min(0)
        x = x + linear(state, f"{name}.ffn.4", layer_norm(state, f"{name}.ffn.3", inner))
        layer += 1
    return layer_norm(state, "decoder.norm", x).transpose(1, 2).reshape(b, c, h, w)


def projector(net, x, sentence):
    x = net.layer("proj.vis.1", twice(x), 1)
    x = net.layer("proj.vis.3", twice(x), 1)
    x = net.conv("proj.vis.4", x, bias=net.state["proj.vis.4.bias"])
    answers = []
    for features, vector in zip(x, linear(net.state, "proj.txt", sentence), strict=True):
        kernel = vector[:-1].view(1, len(features), 3, 3)
        answers.append(F.conv2d(features[None], kernel, vector[-1:], padding=1))
    return torch.cat(answers)


def attention(state, name, query, key, value, heads, mask=None, padding=None):
    out, _ = F.multi_head_attention_forward(
        query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1), query.shape[2], heads,
        state[f"{name}.in_proj_weight"], state[f"{name}.in_proj_bias"], None, None, False, 0.0,
        state[f"{name}.out_proj.weight"], state[f"{name}.out_proj.bias"], training=False,
        key_padding_mask=padding, attn_mask=mask,
    )  # fmt: skip
    return out.transpose(0, 1)


def linear(state, name, x):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def layer_norm(state, name, x):
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def twice(x):
    return F.interpolate(x, scale_factor=2, mode="bilinear")
