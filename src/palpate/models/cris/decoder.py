"""The decoder of CRIS: self-attention over all positions and cross-attention to the words."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from palpate.models.cris.attention import Attention
from palpate.models.cris.config import CrisConfig


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention to the words and an MLP, with pre-norm and residuals."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attn_norm, self.cross_attn_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.self_attn = Attention(width, heads, dropout)
        self.multihead_attn = Attention(width, heads, dropout)
        self.ffn = nn.Sequential(
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.LayerNorm(hidden),
            nn.Linear(hidden, width),
        )
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        words: Float[Tensor, "b m d"],
        keep: Bool[Tensor, "b m"],
        places: Float[Tensor, "n d"],
    ) -> Float[Tensor, "b n d"]:
        inner = self.norm1(x)
        found = self.self_attn(inner + places, inner + places, inner)
        x = x + self.dropout(self.self_attn_norm(found))
        order = sinusoids(words.shape[1], words.shape[2]).to(words)
        found = self.multihead_attn(self.norm2(x) + places, words + order, words, keep=keep)
        x = x + self.dropout(self.cross_attn_norm(found))
        out: Tensor = x + self.dropout(self.ffn(self.norm3(x)))
        return out


class Decoder(nn.Module):
    """A stack of decoder layers."""

    def __init__(self, config: CrisConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(config.text, config.decoder_heads, config.decoder_hidden, config.dropout)
            for _ in range(config.decoder_layers)
        )
        self.norm = nn.LayerNorm(config.text)

    def forward(
        self,
        features: Float[Tensor, "b c h w"],
        words: Float[Tensor, "b m c"],
        keep: Bool[Tensor, "b m"],
    ) -> Float[Tensor, "b c h w"]:
        """Condition image features on the words of a prompt.

        Args:
            features: Image features ``(b, c, h, w)``.
            words: Word features ``(b, m, c)`` of the prompts.
            keep: True for words, False for padding; each prompt has at least one word.

        Returns:
            Features of the same shape as ``features``.
        """
        _, width, h, w = features.shape
        places = grid_sinusoids(h, w, width).to(features)
        x = features.flatten(2).transpose(1, 2)
        for layer in self.layers:
            x = layer(x, words, keep, places)
        out: Tensor = self.norm(x)
        return out.transpose(1, 2).reshape(features.shape)


def sinusoids(length: int, width: int) -> Float[Tensor, "n d"]:
    """Sinusoidal position embeddings (Vaswani et al., 2017, https://arxiv.org/abs/1706.03762).

    Sine and cosine of ``width / 2`` frequencies, interleaved.
    """
    rates = torch.exp(torch.arange(0, width, 2).float() * (-math.log(10000.0) / width))
    angles = torch.arange(length)[:, None].float() * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def grid_sinusoids(height: int, width: int, features: int) -> Float[Tensor, "n d"]:
    """Two-dimensional sinusoidal position embeddings, in row-major order.

    The first half of the features encodes the column, the second half the row.

    >>> grid_sinusoids(2, 3, 8).shape
    torch.Size([6, 8])
    """
    half = features // 2
    across = sinusoids(width, half).expand(height, width, half)
    down = sinusoids(height, half)[:, None].expand(height, width, half)
    return torch.cat([across, down], dim=2).flatten(0, 1)
