"""CLIP's text encoder with OpenAI's parameter names, for word features and sentence embedding."""

from collections import OrderedDict

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from palpate.models.clip.transformer import quick_gelu
from palpate.models.cris.attention import Attention
from palpate.models.cris.config import CrisConfig
from palpate.models.cris.resnet import ImageEncoder


class QuickGELU(nn.Module):
    """OpenAI's fast approximation of the GELU, as a module as in the original."""

    def forward(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        return quick_gelu(x)


class TextBlock(nn.Module):
    """Transformer block with causal self-attention, pre-norm and residual connections."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=nn.Linear(width, width * 4),
                gelu=QuickGELU(),
                c_proj=nn.Linear(width * 4, width),
            )
        )

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        inner = self.ln_1(x)
        x = x + self.attn(inner, inner, inner, causal=True)
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class TextLayers(nn.Module):
    """The stack of blocks; a separate module, so that parameters have their original names."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(TextBlock(width, heads) for _ in range(depth)))

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        out: Tensor = self.resblocks(x)
        return out


class Backbone(nn.Module):
    """CLIP's image and text encoder.

    ``logit_scale`` is not used; it exists because it is in the original's checkpoints.
    """

    def __init__(self, config: CrisConfig) -> None:
        super().__init__()
        width = config.text
        self.visual = ImageEncoder(config)
        self.transformer = TextLayers(width, config.text_heads, config.text_layers)
        self.token_embedding = nn.Embedding(config.vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.randn(config.context, width) * 0.01)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, config.joint) * width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(2.6593))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def read(
        self, vectors: Float[Tensor, "b n d"], tokens: Int64[Tensor, "b n"]
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b j"]]:
        """Encode token embeddings into word features and sentence embeddings.

        Args:
            vectors: Token embeddings ``(b, n, d)``.
            tokens: Token ids ``(b, n)``. They only mark the end of each text, which is the token
                with the largest id.

        Returns:
            Word features ``(b, n, d)``, and sentence embeddings ``(b, j)``: the projected features
            of the end tokens.
        """
        x = vectors + self.positional_embedding[: vectors.shape[1]]
        words = self.ln_final(self.transformer(x))
        row = torch.arange(len(tokens), device=tokens.device)
        return words, words[row, tokens.argmax(dim=1)] @ self.text_projection
