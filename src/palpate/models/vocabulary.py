"""A small vocabulary in CLIP's format, learnt from the texts a model will read."""

import json
from collections.abc import Iterable
from pathlib import Path

from palpate.models.weights import write_text

START, END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
# How CLIP parts a text before pairs are merged: contractions, letters, single digits, the rest.
_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def learn_vocabulary(texts: Iterable[str], out: Path, size: int = 1200) -> int:
    """Learn byte-pair merges (Sennrich et al., 2016, https://arxiv.org/abs/1508.07909).

    Any text can still be written, at worst byte by byte.

    Args:
        texts: What is merged from; the more often a pair occurs, the earlier it is merged.
        out: Folder that gets ``vocab.json`` and ``merges.txt``, as CLIP's tokenizer reads them.
        size: The most tokens; 514 of them are bytes, bytes that end a word, start and end.

    Returns:
        The number of tokens; the last one ends a text.

    Raises:
        ValueError: If ``size`` leaves no room for merges.
    """
    letters = _printable_bytes()
    single = [*letters, *(letter + _WORD_END for letter in letters)]
    room = size - len(single) - 2
    if room < 1:
        raise ValueError(f"Expected a size above {len(single) + 2} tokens, got {size}.")
    merges = _learn_merges(texts, letters, size)[:room]
    tokens = [*single, *(first + second for first, second in merges), START, END]
    out.mkdir(parents=True, exist_ok=True)
    write_text(
        json.dumps({token: number for number, token in enumerate(tokens)}), out / "vocab.json"
    )
    lines = ["#version: 0.2", *(f"{first} {second}" for first, second in merges)]
    write_text("\n".join(lines) + "\n", out / "merges.txt")
    return len(tokens)


def _learn_merges(texts: Iterable[str], letters: list[str], size: int) -> list[tuple[str, str]]:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    learner = Tokenizer(models.BPE(end_of_word_suffix=_WORD_END))
    learner.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=letters,
        end_of_word_suffix=_WORD_END,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    learnt = json.loads(learner.to_str())["model"]["merges"]
    return [(first, second) for first, second in learnt]


def _printable_bytes() -> list[str]:
    """A printable character for each byte: itself, or one above 255 for those without a face."""
    faces = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    faces += range(ord("®"), ord("ÿ") + 1)
    return [chr(code) for code in [*faces, *range(256, 512 - len(faces))]]
