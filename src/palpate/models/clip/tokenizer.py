"""Tokenise prompts with the tokenizers of transformers.

In addition, this module checks that the tokenizer belongs to the text encoder, since a wrong one
would go unnoticed, and pads texts as in the training of each published model.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from palpate.models.clip.config import LEGACY_END, BertConfig, TextConfig

FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")
WORDPIECE = ("vocab.txt", "tokenizer.json")


class Tokenizer:
    """The tokenizer of a text encoder, loaded from a model folder on first use.

    A BERT text encoder uses WordPiece, all others CLIP's byte-pair encoding.

    Args:
        folder: Folder with ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``; for a BERT,
            with ``vocab.txt`` or ``tokenizer.json``.
        config: Configuration of the text encoder.
        padding: Id of the padding token; by default the end token. A BERT always uses the padding
            token of its configuration.
        full: Pad every text to the encoder's context length instead of the longest text.
    """

    def __init__(
        self,
        folder: Path,
        config: TextConfig | BertConfig,
        *,
        padding: int | None = None,
        full: bool = False,
    ) -> None:
        self.folder, self.config, self.full = folder, config, full
        self._padding = config.pad_token_id if isinstance(config, BertConfig) else padding
        self._tokenizer: Any = None

    def __call__(self, prompts: Sequence[str]) -> Int64[Tensor, "b n"]:
        """Tokenise prompts, padded to the longest one or to the context length.

        A prompt longer than the context is truncated, but keeps its end token.

        Returns:
            Token ids ``(b, n)``.

        Raises:
            FileNotFoundError: If the folder has no tokenizer.
            ValueError: If the tokenizer belongs to another model.
        """
        rows = self._loaded(list(prompts), truncation=True, max_length=self._context)["input_ids"]
        self._check(rows)
        length = self._context if self.full else max(map(len, rows))
        return torch.tensor([self._filled(row, length) for row in rows])

    def texts(self, tokens: Int64[Tensor, "b n"]) -> list[str]:
        """Decode tokens ``(b, n)`` to texts, without special tokens."""
        keep = [[t for t in row if t not in self.special] for row in tokens.tolist()]
        return [str(self._loaded.decode(row, clean_up_tokenization_spaces=False)) for row in keep]

    @property
    def special(self) -> frozenset[int]:
        """Ids of the special tokens, such as start, end and padding."""
        return frozenset(self._loaded.all_special_ids)

    @property
    def _loaded(self) -> Any:
        if self._tokenizer is None:
            words = isinstance(self.config, BertConfig)
            self._tokenizer = _load_wordpiece(self.folder) if words else _load(self.folder)
        return self._tokenizer

    @property
    def _context(self) -> int:
        """Context length of the text encoder, in tokens."""
        given = self.config
        if isinstance(given, BertConfig):
            return given.context_length
        return given.max_position_embeddings

    def _filled(self, row: list[int], length: int) -> list[int]:
        filling = row[-1] if self._padding is None else self._padding
        return row + [filling] * (length - len(row))

    def _check(self, rows: list[list[int]]) -> None:
        config = self.config
        if isinstance(config, BertConfig):
            _check_wordpiece(self._loaded, config, self.folder)
            return
        # The text encoder represents a text by the hidden state at its end token. With another end
        # token, all prompts would silently give the same embedding.
        largest, ends = max(map(max, rows)), {row[-1] for row in rows}
        wanted = largest if config.eos_token_id == LEGACY_END else config.eos_token_id
        if largest >= config.vocab_size or ends != {wanted}:
            raise ValueError(
                f"The tokenizer in {self.folder} is not that of this model: expected tokens below "
                f"{config.vocab_size} and {wanted} at the end of a text, got {largest} and "
                f"{sorted(ends)}. Pass load_model(..., tokenizer=FOLDER) with the right one."
            )


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder has the files of a CLIP tokenizer."""
    split = (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
    return split or (folder / "tokenizer.json").is_file()


def _load(folder: Path) -> Any:
    if not has_tokenizer(folder):
        raise FileNotFoundError(
            f"{folder} has no tokenizer (tokenizer.json, or vocab.json with merges.txt), so no "
            "prompt can be read. Save the processor of the model there, or pass "
            "load_model(..., tokenizer=FOLDER)."
        )
    from transformers import CLIPTokenizer  # takes seconds to import and is only needed for text

    return CLIPTokenizer.from_pretrained(str(folder))


def has_wordpiece(folder: Path) -> bool:
    """Whether a folder has the files of a BERT tokenizer."""
    return any((folder / name).is_file() for name in WORDPIECE)


def _load_wordpiece(folder: Path) -> Any:
    if not has_wordpiece(folder):
        raise FileNotFoundError(
            f"{folder} has no tokenizer ({' or '.join(WORDPIECE)}), so no prompt can be read. Pass "
            "load_model(..., tokenizer=FOLDER)."
        )
    from transformers import BertTokenizer

    return BertTokenizer.from_pretrained(str(folder))


def _check_wordpiece(tokenizer: Any, config: BertConfig, folder: Path) -> None:
    if len(tokenizer) != config.vocab_size or tokenizer.pad_token_id != config.pad_token_id:
        raise ValueError(
            f"The tokenizer in {folder} is not that of this model: expected {config.vocab_size} "
            f"tokens, {config.pad_token_id} the padding, got {len(tokenizer)} and "
            f"{tokenizer.pad_token_id}. Pass load_model(..., tokenizer=FOLDER) with the right one."
        )
