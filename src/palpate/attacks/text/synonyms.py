"""The same said in other words of the trade."""

import re
from itertools import chain

import torch

from palpate.attacks.text.draw import draw
from palpate.attacks.text.lexicon import lexicon, pattern, put, without_repeats
from palpate.attacks.text.source import PromptSource


def synonyms(source: PromptSource, *, count: int = 16, generator: torch.Generator) -> list[str]:
    """The prompt with words exchanged for others that mean the same.

    Args:
        source: Its prompt is changed.
        count: How many texts are drawn in which several words may be exchanged at once.
        generator: Draws them.

    Returns:
        Every text with one word exchanged, then those drawn; none where no word has a synonym.
    """
    prompt = source.prompt
    found = list(pattern(_words()).finditer(prompt))
    singles = [put(prompt, *each.span(), other) for each in found for other in _others(each[0])]
    drawn = [_exchanged(prompt, found, generator) for _ in range(count if found else 0)]
    return without_repeats(singles + drawn, prompt)


def _exchanged(prompt: str, found: list[re.Match[str]], generator: torch.Generator) -> str:
    for each in reversed(found):  # from the end, so that earlier places stay where they are
        words = draw([each[0], *_others(each[0])], generator)
        prompt = put(prompt, *each.span(), words)
    return prompt


def _words() -> tuple[str, ...]:
    return tuple(chain.from_iterable(lexicon().synonyms))


def _others(word: str) -> list[str]:
    said = word.lower()
    (same,) = (words for words in lexicon().synonyms if said in words)
    return [other for other in same if other != said]
