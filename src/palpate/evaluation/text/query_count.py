"""A prompted model that counts what an attack asks of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor

from palpate.attacks.text import Prompted, Spelled
from palpate.evaluation.cost import Tally
from palpate.types import Images, Logits


def queried(model: Prompted, tally: Tally) -> Prompted:
    """The same model, adding to ``tally`` each text that is answered for an image, and back.

    Encoding an image is not counted: all attacks on a text share it. It shows in the seconds.
    """
    return _QueriedSpelled(model, tally) if isinstance(model, Spelled) else _Queried(model, tally)


@dataclass(frozen=True)
class _Queried:
    model: Prompted
    tally: Tally

    def __call__(self, images: Images, prompts: Sequence[str]) -> Logits:
        return self._counted(self.model(images, prompts=prompts))

    def encode(self, images: Images) -> Any:
        return self.model.encode(images)

    def read(self, prompts: Sequence[str]) -> Float[Tensor, "b d"]:
        return self.model.read(prompts)

    def decode(self, encoded: Any, condition: Float[Tensor, "b d"]) -> Logits:
        return self._counted(self.model.decode(encoded, condition))

    def _counted(self, logits: Logits) -> Logits:
        return self.tally.counted(logits)


@dataclass(frozen=True)
class _QueriedSpelled(_Queried):
    model: Spelled

    @property
    def token_vectors(self) -> Float[Tensor, "v d"]:
        return self.model.token_vectors

    @property
    def special_tokens(self) -> frozenset[int]:
        return self.model.special_tokens

    def tokens(self, prompts: Sequence[str]) -> Int64[Tensor, "b n"]:
        return self.model.tokens(prompts)

    def texts(self, tokens: Int64[Tensor, "b n"]) -> list[str]:
        return self.model.texts(tokens)

    def read_vectors(
        self, vectors: Float[Tensor, "b n d"], tokens: Int64[Tensor, "b n"]
    ) -> Float[Tensor, "b d"]:
        return self.model.read_vectors(vectors, tokens)
