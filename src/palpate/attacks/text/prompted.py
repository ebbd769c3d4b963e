"""Interfaces of models for text attacks, which encode image and text separately."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from palpate.prompting import Bound
from palpate.types import Box, Images, Logits, Segmenter


@runtime_checkable
class Prompted(Protocol):
    """A model that encodes image and text separately, so that an image need be encoded only once.

    ``decode(encode(images), read(prompts))`` must equal a call with images and prompts.
    """

    def __call__(self, images: Images, prompts: Sequence[str]) -> Logits:
        """Segment in each image what its prompt describes."""
        ...

    def encode(self, images: Images) -> Any:
        """Encode images: compute everything that does not depend on the text."""
        ...

    def read(self, prompts: Sequence[str]) -> Float[Tensor, "b d"]:
        """Encode texts to conditions of the decoder. A row depends on its own text only."""
        ...

    def decode(self, encoded: Any, condition: Float[Tensor, "b d"]) -> Logits:
        """Logits at the size of the images. One encoded image may be used for many conditions."""
        ...


@runtime_checkable
class Spelled(Prompted, Protocol):
    """A prompted model that exposes its tokens, for gradients with respect to them."""

    @property
    def token_vectors(self) -> Float[Tensor, "v d"]:
        """The embedding vector of each token of the vocabulary."""
        ...

    @property
    def special_tokens(self) -> frozenset[int]:
        """Tokens that are not part of a text: start, end, padding."""
        ...

    def tokens(self, prompts: Sequence[str]) -> Int64[Tensor, "b n"]:
        """Tokens of each text, padded to the longest."""
        ...

    def texts(self, tokens: Int64[Tensor, "b n"]) -> list[str]:
        """The texts of tokens; tokenising them again may give other tokens."""
        ...

    def read_vectors(
        self, vectors: Float[Tensor, "b n d"], tokens: Int64[Tensor, "b n"]
    ) -> Float[Tensor, "b d"]:
        """Like ``read``, but differentiable with respect to the embedding vectors of the tokens."""
        ...


class Whole:
    """Adapter that gives any promptable model the interface of :class:`Prompted`.

    The model is called with image and text for every candidate, so nothing is saved by encoding
    the image once. The condition of a text is its index: texts can be scored, but there is no
    gradient with respect to them.

    Args:
        model: Called as ``model(images, prompts=[...])``.
        boxes: The box of the one image that is attacked, for a model that wants boxes.
    """

    def __init__(self, model: Segmenter, boxes: Sequence[Box] | None = None) -> None:
        self.model, self.boxes = model, boxes
        self._numbers: dict[str, int] = {}
        self._texts: list[str] = []

    def __call__(self, images: Images, prompts: Sequence[str]) -> Logits:
        """Segment in each image what its prompt describes."""
        boxes = None if self.boxes is None else [self.boxes[0]] * len(images)
        return Bound(self.model, prompts, boxes)(images)

    def encode(self, images: Images) -> Images:
        """The images, unchanged."""
        return images

    def read(self, prompts: Sequence[str]) -> Float[Tensor, "b d"]:
        """The index of each text."""
        for prompt in prompts:
            if prompt not in self._numbers:
                self._numbers[prompt] = len(self._texts)
                self._texts.append(prompt)
        return torch.tensor([[float(self._numbers[prompt])] for prompt in prompts])

    def decode(self, encoded: Any, condition: Float[Tensor, "b d"]) -> Logits:
        """Logits for texts by their indices; one image may be used for many."""
        texts = [self._texts[int(number)] for number in condition[:, 0]]
        images = encoded.expand(len(texts), -1, -1, -1)
        return self(images.contiguous(), texts)
