"""SAM 3, asked with the words of a prompt."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from palpate.models.clip.config import TextConfig
from palpate.models.clip.tokenizer import Tokenizer
from palpate.models.promptable.model import Promptable
from palpate.types import Images


class Sam3(Promptable):
    """SAM 3 (Carion et al., 2025) as a segmenter of all that a phrase names.

    The answer is its semantic map, to which every instance of the concept belongs; the detector of
    single instances and its score of presence take no part. Nothing between pixels and this map is
    chosen or cut off, so an attack sees all of it. Boxes are not read: a text must do.
    """

    text_conditioned = True
    tokenizer: Tokenizer

    def answer(
        self, pixels: Images, prompts: Sequence[str] | None, size: tuple[int, int]
    ) -> Float[Tensor, "b 1 rows columns"]:
        """The semantic map of each image for its prompt."""
        del size
        tokens, attention = self._tokens(one_each(prompts, len(pixels)))
        found: Any = self.net(pixel_values=pixels, input_ids=tokens, attention_mask=attention)
        logits: Tensor = found.semantic_seg
        return logits

    def _tokens(self, prompts: Sequence[str]) -> tuple[Int64[Tensor, "b n"], Int64[Tensor, "b n"]]:
        """Tokens, always as many as the text tower has places for, and which of them are text."""
        rows = self.tokenizer(prompts).tolist()
        assert isinstance(self.tokenizer.config, TextConfig)
        full = self.tokenizer.config.max_position_embeddings
        ends = [row.index(row[-1]) + 1 for row in rows]  # padding repeats the token at the end
        tokens = [row + [row[-1]] * (full - len(row)) for row in rows]
        attention = [[1] * end + [0] * (full - end) for end in ends]
        return (
            torch.tensor(tokens, device=self.device),
            torch.tensor(attention, device=self.device),
        )


def one_each(prompts: Sequence[str] | None, images: int) -> Sequence[str]:
    """The prompts, if there is one per image.

    Raises:
        ValueError: If there is not.
    """
    if prompts is None or isinstance(prompts, str) or len(prompts) != images:
        given = "none" if prompts is None else repr(prompts)[:80]
        raise ValueError(f"Expected a list of {images} prompts, one per image, got {given}.")
    return prompts
