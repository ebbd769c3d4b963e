"""A small vocabulary in CLIP's format, learnt from the texts a model will read."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from palpate.models.files.weights import write_text

START, END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
# How CLIP parts a text before pairs are merged: contractions, letters, single digits, the rest.
_WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+")


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
    letters = list(_printable_bytes().values())
    single = [*letters, *(letter + _WORD_END for letter in letters)]
    room = size - len(single) - 2
    if room < 1:
        raise ValueError(f"Expected a size above {len(single) + 2} tokens, got {size}.")
    merges = _learn_merges(_words(texts), room)
    tokens = [*single, *(first + second for first, second in merges), START, END]
    out.mkdir(parents=True, exist_ok=True)
    write_text(
        json.dumps({token: number for number, token in enumerate(tokens)}), out / "vocab.json"
    )
    lines = ["#version: 0.2", *(f"{first} {second}" for first, second in merges)]
    write_text("\n".join(lines) + "\n", out / "merges.txt")
    return len(tokens)


def _learn_merges(words: Counter[tuple[str, ...]], most: int) -> list[tuple[str, str]]:
    # The learner of the tokenizers library breaks ties differently in every process.
    merges: list[tuple[str, str]] = []
    while len(merges) < most:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, times in words.items():
            for pair in pairwise(word):
                pairs[pair] += times
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = Counter({_merged(word, best): times for word, times in words.items()})
    return merges


def _words(texts: Iterable[str]) -> Counter[tuple[str, ...]]:
    """Words as sequences of printable bytes, the last one marked, and how often they occur."""
    found = Counter(word for text in texts for word in _WORD.findall(text.lower()))
    letters = _printable_bytes()
    counted: Counter[tuple[str, ...]] = Counter()
    for word, times in found.items():
        spelt = [letters[byte] for byte in word.encode()]
        counted[(*spelt[:-1], spelt[-1] + _WORD_END)] += times
    return counted


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """A word with every occurrence of the pair made one, from the left.

    >>> _merged(("a", "a", "a", "b"), ("a", "a"))
    ('aa', 'a', 'b')
    """
    parts, rest = [], list(word)
    while rest:
        size = 2 if tuple(rest[:2]) == pair else 1
        parts.append("".join(rest[:size]))
        rest = rest[size:]
    return tuple(parts)


def _printable_bytes() -> dict[int, str]:
    """A printable character for each byte: itself, or one above 255 for those without a face."""
    faces = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    faces += range(ord("®"), ord("ÿ") + 1)
    others = [byte for byte in range(256) if byte not in faces]
    return {byte: chr(byte) for byte in faces} | {b: chr(256 + n) for n, b in enumerate(others)}
