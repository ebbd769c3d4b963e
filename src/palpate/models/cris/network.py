"""CRIS (Wang et al., 2022, https://arxiv.org/abs/2111.15174): CLIP with a cross-attention decoder.

This implementation has the parameter names of the original::

    pixels -> ResNet -> three levels --.
                                       neck -> decoder -> projector -> logits at a quarter
    tokens -> text encoder -> sentence --'        |           |
                           -> words --------------'           |
                              sentence -----------------------'

Image features (:meth:`CRIS.features`) do not depend on the text, and the condition
(:meth:`CRIS.condition`) does not depend on the image, so each can be computed once and reused.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from palpate.models.cris.config import CrisConfig
from palpate.models.cris.decoder import Decoder
from palpate.models.cris.neck import Neck
from palpate.models.cris.projector import Projector
from palpate.models.cris.text import Backbone
from palpate.models.text_network import TextNetwork
from palpate.types import Logits

PADDING = 0  # id of the padding token


class CRIS(TextNetwork):
    """CRIS, from normalised images and tokens to logits.

    It has dropout and batch normalisation, so training and evaluation mode differ.
    """

    def __init__(self, config: CrisConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.neck = Neck(config)
        self.decoder = Decoder(config)
        self.proj = Projector(config)

    @property
    def patch_size(self) -> int:
        """The side of the input must be a multiple of this (the largest stride), in pixels."""
        return 32

    @property
    def token_table(self) -> nn.Embedding:
        """The token embeddings of the text encoder."""
        return self.backbone.token_embedding

    @property
    def text_parameters(self) -> list[nn.Parameter]:
        """All parameters of the text encoder."""
        named = self.backbone.named_parameters()
        return [p for name, p in named if not name.startswith("visual.")]

    def features(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Image features at three levels, finest first."""
        levels: list[Tensor] = self.backbone.visual(pixels)
        return levels

    def condition(self, tokens: Int64[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """Encode prompts, one row each: sentence embedding, word features and padding mask."""
        return self.condition_of(self.backbone.token_embedding(tokens), tokens)

    def condition_of(
        self, vectors: Float[Tensor, "b n d"], tokens: Int64[Tensor, "b n"]
    ) -> Float[Tensor, "b c"]:
        """Like :meth:`condition`, but from token embeddings.

        Args:
            vectors: Token embeddings ``(b, n, d)``.
            tokens: Token ids ``(b, n)``; they only mark the padding and the end of each text.
        """
        words, sentence = self.backbone.read(vectors, tokens)
        # Pad to the context length, so that a row does not depend on the length of other prompts.
        missing = self.config.context - tokens.shape[1]
        kept = F.pad((tokens != PADDING).to(words), (0, missing))
        words = F.pad(words, (0, 0, 0, missing)) * kept[:, :, None]
        return torch.cat([sentence, words.flatten(1), kept], dim=1)

    def decode(
        self, levels: Sequence[Float[Tensor, "#b _ _ _"]], condition: Float[Tensor, "b c"]
    ) -> Logits:
        """Decode features into logits at the size of the network's input.

        The logits are computed at a quarter of that size and upsampled (bicubic). Features of a
        single image are broadcast over all conditions.
        """
        sentence, words, keep = self._parts(condition)
        levels = [level.expand(len(condition), -1, -1, -1) for level in levels]
        features = self.neck(levels, sentence)
        logits = self.proj(self.decoder(features, words, keep), sentence)
        return F.interpolate(logits, scale_factor=4, mode="bicubic", align_corners=True)

    def forward(self, pixels: Float[Tensor, "b 3 h w"], condition: Float[Tensor, "b c"]) -> Logits:
        return self.decode(self.features(pixels), condition)

    def _parts(
        self, condition: Float[Tensor, "b c"]
    ) -> tuple[Float[Tensor, "b j"], Float[Tensor, "b n d"], Bool[Tensor, "b n"]]:
        given, context = self.config, self.config.context
        sizes = [given.joint, context * given.text, context]
        sentence, words, kept = torch.split(condition, sizes, dim=1)
        return sentence, words.view(-1, context, given.text), kept > 0.5
