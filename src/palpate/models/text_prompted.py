"""Vision-language models that encode image and text separately."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from palpate.models.clip.tokenizer import Tokenizer
from palpate.models.pixel_model import PixelModel, check_threshold, one_prompt_each
from palpate.models.preprocessing import Preprocessing, enlarged, resized
from palpate.models.text_network import TextNetwork
from palpate.types import Images, Logits


@dataclass(frozen=True)
class Encoded:
    """The image features that the decoder reads.

    Attributes:
        taps: Hidden states of the image encoder with the class token first, or feature maps.
        size: Height and width of the images, in pixels.
    """

    taps: tuple[Float[Tensor, "b ..."], ...]
    size: tuple[int, int]


class TextPrompted(PixelModel):
    """A vision-language segmentation model in pixel space; each family has a subclass.

    Resizing, normalisation and tokenisation happen inside, so that images are RGB in [0, 1] at any
    size, the epsilon of an attack is in pixel units, and logits have the size of the image. If the
    preprocessing gives no input size, a square image whose side is a multiple of the patch keeps
    its size; any other is resized to the fallback.

    Args:
        net: The network.
        tokenizer: Makes tokens of prompts.
        preprocessing: Resizing and normalisation.
        threshold: A pixel is foreground where its probability exceeds this.
        name: Where the weights came from.
        base_hash: Fingerprint of the weights without adapters.
        licence: Of the weights, in words.
        origin: Where the weights come from, in words.
    """

    net: TextNetwork
    text_conditioned = True

    def __init__(
        self,
        net: TextNetwork,
        tokenizer: Tokenizer,
        preprocessing: Preprocessing,
        *,
        threshold: float = 0.5,
        name: str = "",
        base_hash: str = "",
        licence: str = "not stated",
        origin: str = "",
    ) -> None:
        super().__init__()
        self.net, self.tokenizer, self.preprocessing = net, tokenizer, preprocessing
        self.threshold, self.name, self.base_hash = check_threshold(threshold), name, base_hash
        self.multiple = net.patch_size
        self.fresh, self.licence, self.origin = False, licence, origin
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1), False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1), False)
        self._texts: dict[str, Tensor] = {}
        self._texts_made_with: tuple[object, ...] = ()

    @property
    def traits(self) -> Mapping[str, Any]:
        """Preprocessing, and the configuration of the network."""
        return {**super().traits, "config": asdict(self.net.config)}

    def forward(
        self,
        images: Images,
        prompts: Sequence[str] | Int64[Tensor, "b n"] | None = None,
        *,
        condition: Float[Tensor, "b d"] | None = None,
    ) -> Logits:
        """Segment what the prompt of each image names.

        Args:
            images: RGB in [0, 1], of any size.
            prompts: One text per image, or their tokens.
            condition: The embedded texts in place of prompts, see :meth:`condition`.

        Returns:
            Logits ``(b, 1, h, w)`` at the size of the images, in float32.

        Raises:
            ValueError: If there is not one prompt or condition per image.
        """
        if condition is None:
            condition = self.conditions_for(prompts, len(images))
        elif prompts is not None or len(condition) != len(images):
            raise ValueError(
                f"Expected prompts, or in their place one condition for each of {len(images)} "
                f"images, got {len(condition)} conditions"
                f"{'' if prompts is None else ' and prompts too'}."
            )
        return self.decode(self.encode(images), condition)

    def conditions_for(
        self, prompts: Sequence[str] | Int64[Tensor, "b n"] | None, images: int
    ) -> Float[Tensor, "b d"]:
        """The condition of each image.

        Args:
            prompts: One text per image, or their tokens.
            images: The number of images.

        Raises:
            ValueError: If there is not one prompt per image.
        """
        return self.condition(one_prompt_each(prompts, images))

    def encode(self, images: Images) -> Encoded:
        """Image features, which do not depend on the prompt."""
        height, width = images.shape[2:]
        return Encoded(tuple(self.net.features(self.to_network(images))), (height, width))

    def decode(self, encoded: Encoded, condition: Float[Tensor, "b d"]) -> Logits:
        """Logits at the size of the images, in float32.

        Args:
            encoded: Features of as many images as there are conditions, or of one for all.
            condition: One embedded text per output.
        """
        logits: Tensor = self.net.decode(encoded.taps, condition).float()
        return enlarged(logits, encoded.size)

    def to_network(self, images: Images) -> Float[Tensor, "b c side side"]:
        """The input of the network: images resized (antialiased) and normalised, differentiably."""
        size = self.input_size(images.shape[2], images.shape[3])
        return (resized(images, (size, size)) - self.mean) / self.std

    def input_size(self, height: int, width: int) -> int:
        """Side of the square that an image of this height and width is resized to, in pixels."""
        given = self.preprocessing
        if given.size is not None:
            return given.size
        fits = height == width and height % self.net.patch_size == 0
        return height if fits else given.fallback

    def condition(self, prompts: Sequence[str] | Int64[Tensor, "b n"]) -> Float[Tensor, "b d"]:
        """The embedded texts that condition the decoder, one row per prompt.

        Each text is encoded once and cached as long as the weights of the text encoder stay the
        same and require no gradient. PyTorch does not record a change of weights through ``.data``,
        and comparing all weights at every step would cost more than encoding the text again: change
        weights under ``torch.no_grad()`` instead.
        """
        if isinstance(prompts, Tensor):
            return self.net.condition(prompts.to(self.device))
        if torch.is_grad_enabled() and any(p.requires_grad for p in self._text_parameters()):
            unique = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompts))}
            encoded = self.net.condition(self.tokenizer(list(unique)).to(self.device))
            return encoded[[unique[prompt] for prompt in prompts]]
        self._forget_stale_texts()
        for prompt in prompts:
            if prompt not in self._texts:
                self._texts[prompt] = self._encode(prompt)
        return torch.stack([self._texts[prompt] for prompt in prompts])

    def read(self, prompts: Sequence[str]) -> Float[Tensor, "b d"]:
        """Like :meth:`condition`, but not cached: a search over texts encodes thousands."""
        return self.net.condition(self.tokens(prompts))

    def tokens(self, prompts: Sequence[str]) -> Int64[Tensor, "b n"]:
        """The tokens of each text, padded to the longest."""
        return self.tokenizer(prompts).to(self.device)

    def texts(self, tokens: Int64[Tensor, "b n"]) -> list[str]:
        """Decode tokens to text. Tokenising that text again may give other tokens."""
        return self.tokenizer.texts(tokens)

    @property
    def special_tokens(self) -> frozenset[int]:
        """Tokens that are not part of the text: start, end and padding."""
        return self.tokenizer.special

    @property
    def token_vectors(self) -> Float[Tensor, "v d"]:
        """The embedding of each token of the vocabulary, ``(tokens, width)``."""
        return self.net.token_table.weight

    def read_vectors(
        self, vectors: Float[Tensor, "b n d"], tokens: Int64[Tensor, "b n"]
    ) -> Float[Tensor, "b d"]:
        """Like :meth:`read`, from token embeddings, differentiably with respect to these."""
        return self.net.condition_of(vectors, tokens)

    @torch.no_grad()
    def _encode(self, prompt: str) -> Float[Tensor, " d"]:
        # Alone and in full precision: the cached value must not depend, not even by rounding, on
        # the other prompts of the batch. Otherwise a resumed training would differ.
        with torch.autocast(self.device.type, enabled=False):
            return self.net.condition(self.tokenizer([prompt]).to(self.device))[0]

    def _text_parameters(self) -> list[nn.Parameter]:
        return self.net.text_parameters

    def _forget_stale_texts(self) -> None:
        """Empty the cache if a weight of the text encoder has changed."""
        parameters = self._text_parameters()
        # Most in-place changes raise a tensor's version, and moving it changes its address, but
        # fused optimisers do neither: so compare the sums of trainable weights as well.
        trained = [p.detach().sum() for p in parameters if p.requires_grad]
        stamp = (
            *((p.data_ptr(), p._version, p.dtype, p.device) for p in parameters),
            *(torch.stack(trained).tolist() if trained else ()),
        )
        if stamp != self._texts_made_with:
            self._texts.clear()
            self._texts_made_with = stamp
