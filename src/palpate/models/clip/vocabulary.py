"""Learn a small vocabulary in CLIP's format from given texts.

The trainer of the tokenizers library is not used because it is not deterministic: it breaks ties
between equally frequent pairs by hash order, so the vocabulary differs from process to process.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from palpate.atomic import write_text

START, END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
# CLIP's pre-tokenisation: contractions, runs of letters, single digits, runs of other characters.
_WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+")


def learn_vocabulary(texts: Iterable[str], out: Path, size: int = 1200) -> int:
    """Learn a byte-pair encoding (Sennrich et al., 2016, https://arxiv.org/abs/1508.07909).

    The vocabulary includes all single bytes, so that any text can be encoded.

    Args:
        texts: Texts to learn from.
        out: Output folder for ``vocab.json`` and ``merges.txt`` in the format of CLIP's tokenizer.
        size: Maximum number of tokens. 514 of them are fixed: 256 bytes, 256 bytes at the end of a
            word, and the start and end token.

    Returns:
        The number of tokens; the last one is the end token.

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
    numbered = {token: number for number, token in enumerate(tokens)}
    write_text(out / "vocab.json", json.dumps(numbered))
    lines = ["#version: 0.2", *(f"{first} {second}" for first, second in merges)]
    write_text(out / "merges.txt", "\n".join(lines) + "\n")
    return len(tokens)


def _learn_merges(words: Counter[tuple[str, ...]], most: int) -> list[tuple[str, str]]:
    # Ties are broken alphabetically, so that the same texts always give the same vocabulary.
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
    """Count words, each as a sequence of printable bytes with the last one marked."""
    found = Counter(word for text in texts for word in _WORD.findall(text.lower()))
    letters = _printable_bytes()
    counted: Counter[tuple[str, ...]] = Counter()
    for word, times in found.items():
        spelt = [letters[byte] for byte in word.encode()]
        counted[(*spelt[:-1], spelt[-1] + _WORD_END)] += times
    return counted


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """Merge every occurrence of a pair in a word, from left to right.

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
    """Map each byte to a printable character: itself, or one above 255 if not printable."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {b: chr(256 + n) for n, b in enumerate(others)}
