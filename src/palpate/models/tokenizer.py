"""Prompts to tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")


class Tokenizer:
    """CLIP's byte-pair encoding, read from the files of a model directory on first use.

    Args:
        folder: Has ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``.
        context: The most tokens the text tower can take; longer prompts are cut, keeping the end.
        end: Number of the end-of-text token.
    """

    def __init__(self, folder: Path, context: int, end: int) -> None:
        self.folder, self.context, self.end = folder, context, end
        self._encode: Any = None

    def __call__(self, prompts: Sequence[str]) -> Int64[Tensor, "b n"]:
        """Tokens of every prompt, padded with the end token to the longest of them."""
        if self._encode is None:
            self._encode = _load(self.folder)
        rows = [self._encode(prompt) for prompt in prompts]
        rows = [r if len(r) <= self.context else [*r[: self.context - 1], r[-1]] for r in rows]
        longest = max(map(len, rows))
        return torch.tensor([row + [row[-1]] * (longest - len(row)) for row in rows])


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder has the files of a CLIP tokenizer."""
    split = (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
    return split or (folder / "tokenizer.json").is_file()


def _load(folder: Path) -> Any:
    if not has_tokenizer(folder):
        raise FileNotFoundError(
            f"{folder} has no tokenizer (tokenizer.json, or vocab.json with merges.txt), so prompts "
            "cannot be read. Save the processor of the model there, or pass "
            "load_model(..., tokenizer=FOLDER)."
        )
    from transformers import CLIPTokenizer  # seconds to import, and only needed for text

    tokenizer = CLIPTokenizer.from_pretrained(str(folder))
    return lambda prompt: tokenizer(prompt)["input_ids"]
