"""CLIPSeg (Lüddecke & Ecker, 2022, https://arxiv.org/abs/2112.10003) with a differentiable forward.

Hugging Face's ``CLIPSegForImageSegmentation.forward`` runs both encoders under ``no_grad`` (still
in transformers 5.23), so no gradient reaches the pixels, and adapters inside the encoders cannot be
trained. This implementation has the same parameters under the same names, and is differentiable
from the pixels to the logits::

    pixels -> vision tower -> taps (blocks 3, 6, 9) -> [tap slots] --.
                                                                     decoder -> logits
    tokens -> text tower -> projection -> [condition slot] -> FiLM --'

The slots in brackets, and those inside every encoder block, are the identity until
:mod:`palpate.models.clipseg.adapters` inserts an adapter.
"""

from collections.abc import Sequence

from jaxtyping import Float, Int64
from torch import Tensor, nn

from palpate.models.clip.config import ClipSegConfig
from palpate.models.clip.towers import CLIP
from palpate.models.clip.transformer import Block
from palpate.models.text_network import TextNetwork
from palpate.types import Logits


class Decoder(nn.Module):
    """CLIPSeg's decoder: one small transformer block per tap, conditioned on the text by FiLM.

    The taps are processed from the deepest to the shallowest, unless ``rev_activations`` is set.
    """

    def __init__(self, config: ClipSegConfig) -> None:
        super().__init__()
        width, depth = config.reduce_dim, len(config.extract_layers)
        eps = config.decoder_layer_norm_eps or config.vision.layer_norm_eps
        self.conditional_layer = config.conditional_layer
        self.shallow_first = bool(config.rev_activations)
        self.film_mul = nn.Linear(config.projection_dim, width)
        self.film_add = nn.Linear(config.projection_dim, width)
        self.reduces = nn.ModuleList(
            nn.Linear(config.vision.hidden_size, width) for _ in range(depth)
        )
        self.layers = nn.ModuleList(
            Block(
                width, config.decoder_num_attention_heads, config.decoder_intermediate_size,
                "relu", eps, pre_norm=False,
            )
            for _ in range(depth)
        )  # fmt: skip
        self.transposed_convolution = _head(config)

    def forward(
        self, taps: Sequence[Float[Tensor, "#b n d"]], condition: Float[Tensor, "#b c"]
    ) -> Logits:
        """Decode taps into logits ``(b, 1, h, w)`` at the size of the network's input.

        Taps of a single image are broadcast over all conditions, so the image is encoded only once.
        """
        x: Tensor | None = None
        ordered = taps if self.shallow_first else taps[::-1]
        for index, (tap, layer, reduce) in enumerate(
            zip(ordered, self.layers, self.reduces, strict=True)
        ):
            x = reduce(tap) if x is None else reduce(tap) + x
            if index == self.conditional_layer:
                x = self.film_mul(condition)[:, None] * x + self.film_add(condition)[:, None]
            x = layer(x)
        assert x is not None
        side = round((x.shape[1] - 1) ** 0.5)
        grid = x[:, 1:].transpose(1, 2).reshape(len(x), -1, side, side)
        logits: Tensor = self.transposed_convolution(grid)
        return logits


class CLIPSeg(TextNetwork):
    """CLIPSeg, from normalised square images and tokens to logits.

    Attributes:
        tap_slots: One module per tapped image block, applied to its output before the decoder.
        text_slots: Modules by text block. Each gets that block's hidden state at the end token, and
            its output is added to the condition.
        condition_slot: Module applied to the projected text, before the outputs of ``text_slots``
            are added.
    """

    def __init__(self, config: ClipSegConfig) -> None:
        super().__init__()
        self.config: ClipSegConfig = config
        self.clip = CLIP(config)
        self.decoder = Decoder(config)
        self.tap_slots = nn.ModuleList(nn.Identity() for _ in config.extract_layers)
        self.text_slots = nn.ModuleDict()
        self.condition_slot: nn.Module = nn.Identity()

    def features(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b n d"]]:
        """Hidden states of the tapped image blocks for the decoder, class token first."""
        taps: list[Tensor] = self.clip.vision_model(pixels, self.config.extract_layers)
        return [slot(tap) for slot, tap in zip(self.tap_slots, taps, strict=True)]

    def condition(self, tokens: Int64[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """The text embedding that conditions the decoder, one row per prompt."""
        return self._with_text_slots(*self.clip.text_model(tokens, self._text_taps))

    def condition_of(
        self, vectors: Float[Tensor, "b n d"], tokens: Int64[Tensor, "b n"]
    ) -> Float[Tensor, "b c"]:
        """Like :meth:`condition`, but from token embeddings; ``tokens`` mark the text's end."""
        return self._with_text_slots(*self.clip.text_model.read(vectors, tokens, self._text_taps))

    def decode(
        self, taps: Sequence[Float[Tensor, "#b n d"]], condition: Float[Tensor, "b c"]
    ) -> Logits:
        """Logits at the network's input size; taps of one image are broadcast over conditions."""
        logits: Tensor = self.decoder(taps, condition)
        return logits

    @property
    def patch_size(self) -> int:
        """Patch size in pixels; the side of the input must be a multiple of it."""
        return self.config.vision.patch_size

    @property
    def token_table(self) -> nn.Embedding:
        """The token embeddings of the text encoder."""
        return self.clip.text_model.embeddings.token_embedding

    @property
    def text_parameters(self) -> list[nn.Parameter]:
        """All parameters of the text encoder, its projection and its adapters."""
        clip = self.clip
        parts = (clip.text_model, clip.text_projection, self.text_slots, self.condition_slot)
        return [p for part in parts for p in part.parameters()]

    @property
    def _text_taps(self) -> list[int]:
        return [int(name) for name in self.text_slots]

    def condition_from(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c"]:
        """Embeddings of example images in the joint space, to condition the decoder."""
        shown: Tensor = self.clip.visual_projection(self.clip.vision_model.whole(pixels))
        told: Tensor = self.condition_slot(shown)
        return told

    def _with_text_slots(
        self, sentence: Float[Tensor, "b d"], states: Sequence[Float[Tensor, "b d"]]
    ) -> Float[Tensor, "b c"]:
        embedded: Tensor = self.condition_slot(self.clip.text_projection(sentence))
        for slot, state in zip(self.text_slots.values(), states, strict=True):
            embedded = embedded + slot(state)
        return embedded

    def forward(self, pixels: Float[Tensor, "b 3 h w"], condition: Float[Tensor, "b c"]) -> Logits:
        logits: Tensor = self.decoder(self.features(pixels), condition)
        return logits


def _head(config: ClipSegConfig) -> nn.Module:
    width, patch = config.reduce_dim, config.vision.patch_size
    if not config.use_complex_transposed_convolution:
        return nn.ConvTranspose2d(width, 1, patch, stride=patch)
    first, second = upsampling(patch)
    return nn.Sequential(
        nn.Conv2d(width, width, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(width, width // 2, first, stride=first),
        nn.ReLU(),
        nn.ConvTranspose2d(width // 2, 1, second, stride=second),
    )


def upsampling(patch: int) -> tuple[int, int]:
    """Strides of the two transposed convolutions in the refined head; their product is the patch.

    Hugging Face uses a quarter of the patch size for both, which is correct only for a patch size
    of 16. Here the two factors are as equal as possible. The larger comes first, where the feature
    maps have more channels.

    >>> upsampling(16), upsampling(14)
    ((4, 4), (7, 2))
    """
    first = next(f for f in range(int(patch**0.5), 0, -1) if patch % f == 0)
    return patch // first, first
