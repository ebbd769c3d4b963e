"""CRIS (Wang et al., 2022, https://arxiv.org/abs/2111.15174): CLIP's words attended to by places.

Our own forward pass under the original's parameter names::

    pixels -> ResNet -> three levels --.
                                       neck -> decoder -> projector -> logits at a quarter
    tokens -> text encoder -> sentence --'        |           |
                           -> words --------------'           |
                              sentence -----------------------'

What does not depend on the other side is computed once: :meth:`CRIS.features` of an image,
:meth:`CRIS.condition` of a text.
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

PADDING = 0  # the token that is no word


class CRIS(TextNetwork):
    """The network: normalised pixels and tokens in, logits out.

    Dropout and batch normalisation make training mode another function than evaluation mode.
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
        """Images have to have a side that is a multiple of this, in pixels."""
        return 32

    @property
    def token_table(self) -> nn.Embedding:
        """The vector of each token."""
        return self.backbone.token_embedding

    @property
    def text_parameters(self) -> list[nn.Parameter]:
        """Of all that a text passes through before it meets an image."""
        named = self.backbone.named_parameters()
        return [p for name, p in named if not name.startswith("visual.")]

    def features(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Three levels of the image, finest first."""
        levels: list[Tensor] = self.backbone.visual(pixels)
        return levels

    def condition(self, tokens: Int64[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """What to look for, one row a prompt: its sentence, its words, and which are no padding."""
        return self.condition_of(self.backbone.token_embedding(tokens), tokens)

    def condition_of(
        self, vectors: Float[Tensor, "b n d"], tokens: Int64[Tensor, "b n"]
    ) -> Float[Tensor, "b c"]:
        """The same where ``vectors`` stand for the tokens, which say where a text ends."""
        words, sentence = self.backbone.read(vectors, tokens)
        # One and the same row, however long the longest prompt of this call was.
        missing = self.config.context - tokens.shape[1]
        kept = F.pad((tokens != PADDING).to(words), (0, missing))
        words = F.pad(words, (0, 0, 0, missing)) * kept[:, :, None]
        return torch.cat([sentence, words.flatten(1), kept], dim=1)

    def decode(
        self, levels: Sequence[Float[Tensor, "#b _ _ _"]], condition: Float[Tensor, "b c"]
    ) -> Logits:
        """Logits at the size of the network's input, bicubically enlarged from a quarter of it.

        The levels of one image do for many conditions.
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
