"""Multi-head attention with PyTorch's parameter names and the batch axis first."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention; the projections of query, key and value are stored in one matrix."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Float[Tensor, "b n d"],
        key: Float[Tensor, "b m d"],
        value: Float[Tensor, "b m d"],
        *,
        causal: bool = False,
        keep: Bool[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Attention over the keys where ``keep`` is True; by default over all keys."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            heads_apart(F.linear(x, weight, bias), self.heads)
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        mixed = F.scaled_dot_product_attention(
            q, k, v,
            attn_mask=None if keep is None else keep[:, None, None],
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
        )  # fmt: skip
        found: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return found


def heads_apart(x: Float[Tensor, "b n d"], heads: int) -> Float[Tensor, "b heads n e"]:
    """Split the channels into heads."""
    b, n, d = x.shape
    return x.view(b, n, heads, d // heads).transpose(1, 2)
