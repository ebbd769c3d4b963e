"""Character-level attacks: typing errors and look-alike characters."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch

from palpate.attacks.core.draws import choose_one, in_random_order
from palpate.attacks.text.source import PromptSource
from palpate.text.lexicon import without_repeats

Slip: TypeAlias = Literal["typo", "swap", "homoglyph", "casing"]

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
# Cyrillic and Greek letters that look like Latin ones in most typefaces.
_LOOKALIKES = dict(zip("aceopxyijsv", "асеорхуіјѕν", strict=True))


def character_noise(
    source: PromptSource,
    *,
    slips: Sequence[Slip] = ("typo", "swap"),
    edits: int = 2,
    count: int = 16,
    generator: torch.Generator,
) -> list[str]:
    """The prompt with a few wrong characters, still understandable to a reader.

    ``typo`` replaces a letter by a neighbour on the keyboard, ``swap`` exchanges two adjacent
    letters, ``homoglyph`` uses a letter of another alphabet that looks the same, ``casing``
    changes between upper and lower case. No letter is changed twice. CLIP converts text to lower
    case, so casing has no effect on it.

    Args:
        source: Its prompt is changed.
        slips: Kinds of errors, each with the same probability.
        edits: Maximum number of letters, or pairs of letters, that are changed; at least 1.
        count: Number of texts to draw, at least 1.
        generator: Draws the errors.

    Returns:
        At most ``count`` texts, all different; none if no error is possible.

    Raises:
        ValueError: If edits, count or slips are not as described.
    """
    if edits < 1 or count < 1:
        raise ValueError(f"Expected edits >= 1 and count >= 1, got {edits} and {count}.")
    unknown = [slip for slip in slips if slip not in _SLIPS]
    if unknown or not slips:
        raise ValueError(f"Expected slips among {', '.join(_SLIPS)}, got {list(slips)}.")
    drawn = [_slipped(source.prompt, slips, edits, generator) for _ in range(count)]
    return without_repeats(drawn, source.prompt)


def _slipped(prompt: str, slips: Sequence[Slip], edits: int, generator: torch.Generator) -> str:
    letters, hit = list(prompt), set[int]()
    for place in in_random_order(range(len(prompt)), generator):
        if not edits:
            break
        slip = choose_one(slips, generator)
        # A swap changes two letters, neither of which may have been changed before.
        touched = {place, place + 1} if slip == "swap" else {place}
        new = None if touched & hit else _SLIPS[slip](letters[place : place + 2], generator)
        if new is not None:
            letters[place : place + 2] = new
            hit |= touched
            edits -= 1
    return "".join(letters)


def _typo(pair: list[str], generator: torch.Generator) -> list[str] | None:
    letter, *rest = pair
    for row in _ROWS:
        if letter.lower() in row:
            at = row.index(letter.lower())
            key = choose_one([row[i] for i in (at - 1, at + 1) if 0 <= i < len(row)], generator)
            return [key.upper() if letter.isupper() else key, *rest]
    return None


def _swap(pair: list[str], generator: torch.Generator) -> list[str] | None:
    del generator
    fits = len(pair) == 2 and all(map(str.isalpha, pair)) and pair[0] != pair[1]
    return pair[::-1] if fits else None


def _homoglyph(pair: list[str], generator: torch.Generator) -> list[str] | None:
    del generator
    letter, *rest = pair
    return [_LOOKALIKES[letter], *rest] if letter in _LOOKALIKES else None


def _casing(pair: list[str], generator: torch.Generator) -> list[str] | None:
    del generator
    letter, *rest = pair
    return [letter.swapcase(), *rest] if letter.isascii() and letter.isalpha() else None


_SLIPS: dict[str, Callable[[list[str], torch.Generator], list[str] | None]] = {
    "typo": _typo,
    "swap": _swap,
    "homoglyph": _homoglyph,
    "casing": _casing,
}
