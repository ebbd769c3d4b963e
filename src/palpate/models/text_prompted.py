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
    """Image features for the decoder.

    Attributes:
        taps: Hidden states of the image encoder (class token first), or feature maps.
        size: Height and width of the original images, in pixels.
    """

    taps: tuple[Float[Tensor, "b ..."], ...]
    size: tuple[int, int]


class TextPrompted(PixelModel):
    """Base class of vision-language segmentation models that include their preprocessing.

    Resizing, normalisation and tokenisation are part of the model. So images are RGB in [0, 1] at
    any size, the epsilon of an attack is in pixel units, and logits have the size of the image. If
    the preprocessing has no fixed input size, a square image whose side is a multiple of the patch
    size keeps its size; any other image is resized to the fallback size.

    Args:
        net: The network.
        tokenizer: Converts prompts to tokens.
        preprocessing: Resizing and normalisation.
        threshold: Probability above which a pixel is foreground.
        name: Name, folder or file from which the model was loaded.
        base_hash: Fingerprint of the weights without adapters.
        licence: Licence of the weights.
        origin: Description of where the weights come from.
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
        """Preprocessing and configuration of the network."""
        return {**super().traits, "config": asdict(self.net.config)}

    def forward(
        self,
        images: Images,
        prompts: Sequence[str] | Int64[Tensor, "b n"] | None = None,
        *,
        condition: Float[Tensor, "b d"] | None = None,
    ) -> Logits:
        """Segment the object named by each image's prompt.

        Args:
            images: RGB images ``(b, 3, h, w)`` in [0, 1], of any size.
            prompts: One text per image, or their tokens ``(b, n)``.
            condition: Text embeddings to use in place of prompts, see :meth:`condition`.

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
        """The text embedding that conditions the decoder, one row per image.

        Args:
            prompts: One text per image, or their tokens.
            images: Number of images.

        Raises:
            ValueError: If there is not one prompt per image.
        """
        return self.condition(one_prompt_each(prompts, images))

    def encode(self, images: Images) -> Encoded:
        """Encode images; the features do not depend on the prompt."""
        height, width = images.shape[2:]
        return Encoded(tuple(self.net.features(self.to_network(images))), (height, width))

    def decode(self, encoded: Encoded, condition: Float[Tensor, "b d"]) -> Logits:
        """Decode image features into logits at the size of the images, in float32.

        Args:
            encoded: Features of one image per condition, or of a single image for all conditions.
            condition: Text embeddings ``(b, d)``, one per output.
        """
        logits: Tensor = self.net.decode(encoded.taps, condition).float()
        return enlarged(logits, encoded.size)

    def to_network(self, images: Images) -> Float[Tensor, "b c side side"]:
        """Resize (antialiased) and normalise images for the network, differentiably."""
        size = self.input_size(images.shape[2], images.shape[3])
        return (resized(images, (size, size)) - self.mean) / self.std

    def input_size(self, height: int, width: int) -> int:
        """Side of the network's square input for an image of this height and width, in pixels."""
        given = self.preprocessing
        if given.size is not None:
            return given.size
        fits = height == width and height % self.net.patch_size == 0
        return height if fits else given.fallback

    def condition(self, prompts: Sequence[str] | Int64[Tensor, "b n"]) -> Float[Tensor, "b d"]:
        """The text embeddings that condition the decoder, one row per prompt.

        Embeddings are cached as long as the weights of the text encoder do not change and no
        gradient with respect to them is needed. The cache does not notice changes made through
        ``.data``, which PyTorch does not record; change weights under ``torch.no_grad()`` instead.
        """
        if isinstance(prompts, Tensor):
            return self.net.condition(prompts.to(self.device))
        if torch.is_grad_enabled() and any(p.requires_grad for p in self._text_parameters()):
            # A batch often repeats a prompt: encode each text once.
            unique = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompts))}
            encoded = self.net.condition(self.tokenizer(list(unique)).to(self.device))
            return encoded[[unique[prompt] for prompt in prompts]]
        self._forget_stale_texts()
        for prompt in prompts:
            if prompt not in self._texts:
                self._texts[prompt] = self._encode(prompt)
        return torch.stack([self._texts[prompt] for prompt in prompts])

    def read(self, prompts: Sequence[str]) -> Float[Tensor, "b d"]:
        """Like :meth:`condition`, but without the cache, for searches over thousands of texts."""
        return self.net.condition(self.tokens(prompts))

    def tokens(self, prompts: Sequence[str]) -> Int64[Tensor, "b n"]:
        """Tokenise texts; rows are padded to equal length."""
        return self.tokenizer(prompts).to(self.device)

    def texts(self, tokens: Int64[Tensor, "b n"]) -> list[str]:
        """Decode tokens to texts. Tokenising these texts again may give different tokens."""
        return self.tokenizer.texts(tokens)

    @property
    def special_tokens(self) -> frozenset[int]:
        """Ids of the special tokens, such as start, end and padding."""
        return self.tokenizer.special

    @property
    def token_vectors(self) -> Float[Tensor, "v d"]:
        """The embeddings of all tokens in the vocabulary, ``(tokens, width)``."""
        return self.net.token_table.weight

    def read_vectors(
        self, vectors: Float[Tensor, "b n d"], tokens: Int64[Tensor, "b n"]
    ) -> Float[Tensor, "b d"]:
        """Like :meth:`read`, but from token embeddings, so that gradients reach them."""
        return self.net.condition_of(vectors, tokens)

    @torch.no_grad()
    def _encode(self, prompt: str) -> Float[Tensor, " d"]:
        # Encode each prompt separately and in full precision, so that the cached value does not
        # depend on the rest of the batch, not even by rounding. Otherwise a resumed training would
        # give other results than an uninterrupted one.
        with torch.autocast(self.device.type, enabled=False):
            return self.net.condition(self.tokenizer([prompt]).to(self.device))[0]

    def _text_parameters(self) -> list[nn.Parameter]:
        return self.net.text_parameters

    def _forget_stale_texts(self) -> None:
        """Clear the cache if a weight of the text encoder has changed."""
        parameters = self._text_parameters()
        # Most in-place changes increase a tensor's version, and moving it changes its address.
        # Fused optimisers do neither, so the sums of trainable weights are compared as well.
        trained = [p.detach().sum() for p in parameters if p.requires_grad]
        stamp = (
            *((p.data_ptr(), p._version, p.dtype, p.device) for p in parameters),
            *(torch.stack(trained).tolist() if trained else ()),
        )
        if stamp != self._texts_made_with:
            self._texts.clear()
            self._texts_made_with = stamp
