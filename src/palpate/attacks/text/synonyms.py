"""The same said in other words of the trade."""

import re

import torch

from palpate.attacks.text.draw import draw
from palpate.attacks.text.source import PromptSource
from palpate.text.lexicon import exchangeable, put, rephrasings, synonyms_of, without_repeats


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
    found = exchangeable(prompt)
    drawn = [_exchanged(prompt, found, generator) for _ in range(count if found else 0)]
    return without_repeats(rephrasings(prompt) + drawn, prompt)


def _exchanged(prompt: str, found: list[re.Match[str]], generator: torch.Generator) -> str:
    for each in reversed(found):  # from the end, so that earlier places stay where they are
        words = draw([each[0], *synonyms_of(each[0])], generator)
        prompt = put(prompt, *each.span(), words)
    return prompt
