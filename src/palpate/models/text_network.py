"""The network inside a :class:`~palpate.models.text_prompted.TextPrompted` model."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor, nn

from palpate.types import Logits


class TextNetwork(nn.Module, ABC):
    """A network that encodes images and texts separately and decodes both into logits.

    Attributes:
        config: Sizes of the network, a dataclass.
    """

    config: Any

    @property
    @abstractmethod
    def patch_size(self) -> int:
        """Sides of an input image must be multiples of this, in pixels."""

    @property
    @abstractmethod
    def token_table(self) -> nn.Embedding:
        """The embedding of each token."""

    @property
    @abstractmethod
    def text_parameters(self) -> list[nn.Parameter]:
        """All parameters of the text encoder and its projection."""

    @abstractmethod
    def features(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b ..."]]:
        """Image features for the decoder."""

    @abstractmethod
    def condition(self, tokens: Int64[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """The embedded texts, one row per prompt."""

    @abstractmethod
    def condition_of(
        self, vectors: Float[Tensor, "b n d"], tokens: Int64[Tensor, "b n"]
    ) -> Float[Tensor, "b c"]:
        """As :meth:`condition`, from token embeddings; ``tokens`` give the end of each text."""

    @abstractmethod
    def decode(
        self, features: Sequence[Float[Tensor, "#b ..."]], condition: Float[Tensor, "b c"]
    ) -> Logits:
        """Logits at the size of the network's input; features of one image broadcast."""
