"""Transformer blocks of CLIPSeg, with Hugging Face's parameter names.

They are implemented here so that gradients reach the pixels regardless of the transformers version.
Every block has two slots for adapters, ``after_attention`` and ``after_mlp``, which are the
identity until an adapter is inserted.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F


def quick_gelu(x: Tensor) -> Tensor:
    """OpenAI's fast approximation of the GELU, ``x * sigmoid(1.702 x)``."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "quick_gelu": quick_gelu,
    "gelu": F.gelu,
    "relu": F.relu,
}


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.q_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        *,
        causal: bool = False,
        keep: Bool[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Self-attention over the tokens where ``keep`` is True; by default over all tokens."""
        b, n, d = x.shape
        query, key, value = (
            project(x).view(b, n, self.heads, d // self.heads).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = _attend(query, key, value, causal=causal, keep=keep)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(b, n, d))
        return out


def _attend(
    query: Tensor, key: Tensor, value: Tensor, *, causal: bool, keep: Tensor | None
) -> Tensor:
    if keep is not None:
        mask = keep[:, None, None]
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    # On a CPU in bfloat16, the fused kernel is slower than separate operations: its backward pass
    # takes three times as long.
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and not causal:
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        mixed: Tensor = scores.softmax(dim=-1) @ value
        return mixed
    return F.scaled_dot_product_attention(query, key, value, is_causal=causal)


class MLP(nn.Module):
    """Two linear layers with an activation in between."""

    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"Expected hidden_act in {sorted(ACTIVATIONS)}, got {activation!r}.")
        self.activation = ACTIVATIONS[activation]
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        out: Tensor = self.fc2(self.activation(self.fc1(x)))
        return out


class Block(nn.Module):
    """Transformer block: self-attention and MLP with residual connections, pre-norm or post-norm.

    CLIP's encoders use pre-norm; BERT and CLIPSeg's decoder use post-norm.
    """

    def __init__(
        self, width: int, heads: int, hidden: int, activation: str, eps: float, *, pre_norm: bool
    ) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.self_attn = Attention(width, heads)
        self.layer_norm1 = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(width, hidden, activation)
        self.layer_norm2 = nn.LayerNorm(width, eps=eps)
        self.after_attention: nn.Module = nn.Identity()
        self.after_mlp: nn.Module = nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        *,
        causal: bool = False,
        keep: Bool[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b n d"]:
        if self.pre_norm:
            inner = self.self_attn(self.layer_norm1(x), causal=causal, keep=keep)
            x = x + self.after_attention(inner)
            x = x + self.after_mlp(self.mlp(self.layer_norm2(x)))
        else:
            inner = self.self_attn(x, causal=causal, keep=keep)
            x = self.layer_norm1(x + self.after_attention(inner))
            x = self.layer_norm2(x + self.after_mlp(self.mlp(x)))
        return x


class Encoder(nn.Module):
    """A stack of transformer blocks, with pre-norm (CLIP) or post-norm (BERT)."""

    def __init__(
        self,
        depth: int,
        width: int,
        heads: int,
        hidden: int,
        activation: str,
        eps: float,
        *,
        pre_norm: bool = True,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Block(width, heads, hidden, activation, eps, pre_norm=pre_norm) for _ in range(depth)
        )
