"""What an attack on the text may ask of a model, which image attacks get with its prompt bound."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from palpate.types import Images, Logits


@runtime_checkable
class Prompted(Protocol):
    """A segmenter in two halves, so that an image is encoded once for any number of texts.

    ``decode(encode(images), read(prompts))`` is what a call with images and prompts gives.
    """

    def __call__(self, images: Images, prompts: Sequence[str]) -> Logits:
        """Where in each image is what its prompt names?"""
        ...

    def encode(self, images: Images) -> Any:
        """All that is made of images before the text comes in."""
        ...

    def read(self, prompts: Sequence[str]) -> Float[Tensor, "b d"]:
        """What the decoder is told, one row per text; a row depends on no other text."""
        ...

    def decode(self, encoded: Any, condition: Float[Tensor, "b d"]) -> Logits:
        """Logits at the size of the images; one encoded image does for many conditions."""
        ...


@runtime_checkable
class Spelled(Prompted, Protocol):
    """A prompted model that shows its tokens, so that a gradient can choose among them."""

    @property
    def token_vectors(self) -> Float[Tensor, "v d"]:
        """The vector of each token of the vocabulary."""
        ...

    @property
    def special_tokens(self) -> frozenset[int]:
        """Tokens that are no part of a text: start, end, padding."""
        ...

    def tokens(self, prompts: Sequence[str]) -> Int64[Tensor, "b n"]:
        """Tokens of every text, padded to the longest."""
        ...

    def texts(self, tokens: Int64[Tensor, "b n"]) -> list[str]:
        """What tokens spell; reading it again may give other tokens."""
        ...

    def read_vectors(
        self, vectors: Float[Tensor, "b n d"], tokens: Int64[Tensor, "b n"]
    ) -> Float[Tensor, "b d"]:
        """Like ``read``, differentiably from the vectors that stand for the tokens."""
        ...
