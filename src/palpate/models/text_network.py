"""Base class of networks in a :class:`~palpate.models.text_prompted.TextPrompted` model."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor, nn

from palpate.types import Logits


class TextNetwork(nn.Module, ABC):
    """A network that encodes images and texts separately and decodes both into logits.

    Attributes:
        config: Configuration of the network, a dataclass.
    """

    config: Any

    @property
    @abstractmethod
    def patch_size(self) -> int:
        """Patch size in pixels; the sides of the input must be multiples of it."""

    @property
    @abstractmethod
    def token_table(self) -> nn.Embedding:
        """The token embeddings of the text encoder."""

    @property
    @abstractmethod
    def text_parameters(self) -> list[nn.Parameter]:
        """All parameters of the text encoder and its projection."""

    @abstractmethod
    def features(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b ..."]]:
        """Image features for the decoder."""

    @abstractmethod
    def condition(self, tokens: Int64[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """The text embeddings that condition the decoder, one row per prompt."""

    @abstractmethod
    def condition_of(
        self, vectors: Float[Tensor, "b n d"], tokens: Int64[Tensor, "b n"]
    ) -> Float[Tensor, "b c"]:
        """Like :meth:`condition`, but from token embeddings, so that gradients reach them.

        Args:
            vectors: Token embeddings ``(b, n, d)``.
            tokens: Token ids ``(b, n)``; they only mark the end of each text.
        """

    @abstractmethod
    def decode(
        self, features: Sequence[Float[Tensor, "#b ..."]], condition: Float[Tensor, "b c"]
    ) -> Logits:
        """Decode features into logits ``(b, 1, h, w)`` at the size of the network's input.

        Args:
            features: Image features; those of a single image are broadcast over all conditions.
            condition: Text embeddings, see :meth:`condition`.
        """
