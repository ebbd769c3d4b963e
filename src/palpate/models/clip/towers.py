"""The image and text encoders of CLIP (Radford et al., 2021, https://arxiv.org/abs/2103.00020).

Parameters have Hugging Face's names. Both encoders return the hidden states after selected blocks
(``taps``); the image encoder skips the blocks above the last selected one.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from palpate.models.clip.bert import BertTower
from palpate.models.clip.config import (
    LEGACY_END,
    BertConfig,
    ClipSegConfig,
    TextConfig,
    VisionConfig,
)
from palpate.models.clip.transformer import Encoder


class VisionEmbeddings(nn.Module):
    """Class token and patch embeddings, with position embeddings added."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.patch_embedding = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        positions = (config.image_size // patch) ** 2 + 1
        self.position_embedding = nn.Embedding(positions, width)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n d"]:
        patches = self.patch_embedding(pixels)
        grid = (patches.shape[2], patches.shape[3])
        tokens = patches.flatten(2).transpose(1, 2)
        first = self.class_embedding.to(tokens.dtype).expand(len(tokens), 1, -1)
        return torch.cat([first, tokens], dim=1) + self._positions(grid)

    def _positions(self, grid: tuple[int, int]) -> Float[Tensor, "n d"]:
        """Position embeddings, interpolated (bicubic) if the grid differs from the trained one."""
        weight = self.position_embedding.weight
        side = round((len(weight) - 1) ** 0.5)
        if grid == (side, side):
            return weight
        trained = weight[1:].view(1, side, side, -1).permute(0, 3, 1, 2)
        stretched = F.interpolate(trained, size=grid, mode="bicubic", align_corners=False)
        return torch.cat([weight[:1], stretched.permute(0, 2, 3, 1).flatten(0, 2)])


class VisionTower(nn.Module):
    """CLIP's image encoder, a vision transformer."""

    def __init__(self, config: VisionConfig, *, pre_layer_norm: bool) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.embeddings = VisionEmbeddings(config)
        # The missing "e" is in the parameter names of every published checkpoint.
        self.pre_layrnorm = nn.LayerNorm(width, eps=eps) if pre_layer_norm else nn.Identity()
        self.encoder = Encoder(
            config.num_hidden_layers, width, config.num_attention_heads,
            config.intermediate_size, config.hidden_act, eps,
        )  # fmt: skip
        self.post_layernorm = nn.LayerNorm(width, eps=eps)

    def whole(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """The image embedding ``(b, d)``: the class token after the last block, normalised."""
        last: Tensor = self(pixels, [len(self.encoder.layers) - 1])[0]
        pooled: Tensor = self.post_layernorm(last[:, 0])
        return pooled

    def forward(
        self, pixels: Float[Tensor, "b 3 h w"], taps: Sequence[int]
    ) -> list[Float[Tensor, "b n d"]]:
        """Hidden states after the blocks listed in ``taps`` (0 is the first), class token first."""
        x = self.pre_layrnorm(self.embeddings(pixels))
        found = {}
        for index, block in enumerate(self.encoder.layers[: max(taps) + 1]):
            x = block(x)
            found[index] = x
        return [found[tap] for tap in taps]


class TextEmbeddings(nn.Module):
    """Token and position embeddings."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)

    def forward(self, tokens: Int64[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        return self.placed(self.token_embedding(tokens))

    def placed(self, vectors: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Add position embeddings to token embeddings."""
        places: Tensor = self.position_embedding.weight[: vectors.shape[1]]
        return vectors + places


class TextTower(nn.Module):
    """CLIP's text encoder. Attention is causal, so padding after the end token has no effect."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.eos_token_id = config.eos_token_id
        self.embeddings = TextEmbeddings(config)
        self.encoder = Encoder(
            config.num_hidden_layers, config.hidden_size, config.num_attention_heads,
            config.intermediate_size, config.hidden_act, config.layer_norm_eps,
        )  # fmt: skip
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(
        self, tokens: Int64[Tensor, "b n"], taps: Sequence[int] = ()
    ) -> tuple[Float[Tensor, "b d"], list[Float[Tensor, "b d"]]]:
        """Encode tokens ``(b, n)``.

        Returns:
            The end token's hidden state after the last block and layer norm, and its hidden states
            after the blocks listed in ``taps`` (0 is the first block).
        """
        return self.read(self.embeddings.token_embedding(tokens), tokens, taps)

    def read(
        self,
        vectors: Float[Tensor, "b n d"],
        tokens: Int64[Tensor, "b n"],
        taps: Sequence[int] = (),
    ) -> tuple[Float[Tensor, "b d"], list[Float[Tensor, "b d"]]]:
        """Like :meth:`forward`, but from token embeddings; ``tokens`` only mark the text's end."""
        x = self.embeddings.placed(vectors)
        row, end = torch.arange(len(tokens), device=tokens.device), self.end_of_text(tokens)
        found = {}
        for index, block in enumerate(self.encoder.layers):
            x = block(x, causal=True)
            found[index] = x[row, end]
        return self.final_layer_norm(x[row, end]), [found[tap] for tap in taps]

    def end_of_text(self, tokens: Int64[Tensor, "b n"]) -> Int64[Tensor, " b"]:
        """Position of the first end-of-text token in each row."""
        if self.eos_token_id == LEGACY_END:  # the end token has the largest id
            return tokens.argmax(dim=1)
        return (tokens == self.eos_token_id).int().argmax(dim=1)


class CLIP(nn.Module):
    """Image and text encoder with their projections into the joint embedding space."""

    def __init__(self, config: ClipSegConfig) -> None:
        super().__init__()
        self.vision_model = VisionTower(config.vision, pre_layer_norm=config.pre_layer_norm)
        self.text_model = (
            BertTower(config.text)
            if isinstance(config.text, BertConfig)
            else TextTower(config.text)
        )
        width = config.projection_dim
        self.visual_projection = nn.Linear(config.vision.hidden_size, width, bias=False)
        self.text_projection = _text_projection(config)
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))


def _text_projection(config: ClipSegConfig) -> nn.Module:
    width, out, hidden = config.text.hidden_size, config.projection_dim, config.projection_hidden
    if hidden is None:
        return nn.Linear(width, out, bias=False)
    return nn.Sequential(
        nn.Linear(width, hidden, bias=False), nn.GELU(), nn.Linear(hidden, out, bias=False)
    )
