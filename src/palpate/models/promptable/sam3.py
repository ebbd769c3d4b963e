"""SAM 3, prompted with text."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from palpate.models.clip.config import TextConfig
from palpate.models.clip.tokenizer import Tokenizer
from palpate.models.pixel_model import one_prompt_each
from palpate.models.promptable.model import Promptable
from palpate.types import Images, Logits


class Sam3(Promptable):
    """SAM 3 (Carion et al., 2025) for semantic segmentation with a text prompt.

    The output is the semantic map, which covers all instances of the named concept. The instance
    detector, its presence score and boxes are not used. There is no selection and no detached
    tensor between the pixels and the semantic map, so gradient attacks get the complete gradient.
    """

    text_conditioned = True
    tokenizer: Tokenizer

    def forward(self, images: Images, prompts: Sequence[str] | None = None) -> Logits:
        """Segment the object named by each image's prompt.

        Args:
            images: RGB images ``(b, 3, h, w)`` in [0, 1], of any size.
            prompts: One text per image.

        Returns:
            Logits ``(b, 1, h, w)`` at the size of the images, in float32.

        Raises:
            ValueError: If there is not one prompt per image.
            RuntimeError: If a gradient is needed and the network's output has none.
        """
        asked = one_prompt_each(prompts, len(images))
        return self.on_canvas(images, partial(self.answer, prompts=asked))

    def answer(
        self, pixels: Images, *, prompts: Sequence[str]
    ) -> Float[Tensor, "b 1 rows columns"]:
        """The semantic map of each image for its prompt, as logits.

        Args:
            pixels: Square, normalised input of the network.
            prompts: One text per image.
        """
        tokens, attention = self._tokens(prompts)
        found: Any = self.net(pixel_values=pixels, input_ids=tokens, attention_mask=attention)
        logits: Tensor = found.semantic_seg
        return logits

    def _tokens(self, prompts: Sequence[str]) -> tuple[Int64[Tensor, "b n"], Int64[Tensor, "b n"]]:
        """Tokens padded to the context length, and their attention mask (1 for text)."""
        rows = self.tokenizer(prompts).tolist()
        assert isinstance(self.tokenizer.config, TextConfig)
        full = self.tokenizer.config.max_position_embeddings
        ends = [row.index(row[-1]) + 1 for row in rows]  # padding repeats the end token
        tokens = [row + [row[-1]] * (full - len(row)) for row in rows]
        attention = [[1] * end + [0] * (full - end) for end in ends]
        return (
            torch.tensor(tokens, device=self.device),
            torch.tensor(attention, device=self.device),
        )
