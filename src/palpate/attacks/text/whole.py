"""A model that takes image and text together, as attacks on the text want it: in two halves."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.prompting import Bound
from palpate.types import Box, Images, Logits, Segmenter


class Whole:
    """Asked anew, image and all, for every text.

    What the decoder is told of a text is its number. So texts can be tried out, at the price of a
    forward pass each, but no gradient leads to one, and none can be moved a little.

    Args:
        model: Called as ``model(images, prompts=[...])``.
        boxes: The box of the one image that is attacked, for a model that wants boxes.
    """

    def __init__(self, model: Segmenter, boxes: Sequence[Box] | None = None) -> None:
        self.model, self.boxes = model, boxes
        self._numbers: dict[str, int] = {}
        self._texts: list[str] = []

    def __call__(self, images: Images, prompts: Sequence[str]) -> Logits:
        """Where in each image is what its prompt names?"""
        boxes = None if self.boxes is None else [self.boxes[0]] * len(images)
        return Bound(self.model, prompts, boxes)(images)

    def encode(self, images: Images) -> Images:
        """The images as they are."""
        return images

    def read(self, prompts: Sequence[str]) -> Float[Tensor, "b d"]:
        """The number of each text."""
        for prompt in prompts:
            if prompt not in self._numbers:
                self._numbers[prompt] = len(self._texts)
                self._texts.append(prompt)
        return torch.tensor([[float(self._numbers[prompt])] for prompt in prompts])

    def decode(self, encoded: Any, condition: Float[Tensor, "b d"]) -> Logits:
        """Logits for texts by their numbers; one image does for many."""
        texts = [self._texts[int(number)] for number in condition[:, 0]]
        images = encoded.expand(len(texts), -1, -1, -1)
        return self(images.contiguous(), texts)
