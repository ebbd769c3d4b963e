"""Prompts with words replaced by synonyms from the lexicon."""

import re

import torch

from palpate.attacks.core.draws import choose_one
from palpate.attacks.text.source import PromptSource
from palpate.text.lexicon import exchangeable, put, rephrasings, synonyms_of, without_repeats


def synonyms(source: PromptSource, *, count: int = 16, generator: torch.Generator) -> list[str]:
    """The prompt with words replaced by synonyms.

    Args:
        source: Its prompt is changed.
        count: Number of additional texts to draw, in which several words may be replaced at once.
        generator: Draws these texts.

    Returns:
        Every text with one word replaced, then those drawn; none if no word has a synonym.
    """
    prompt = source.prompt
    found = exchangeable(prompt)
    drawn = [_exchanged(prompt, found, generator) for _ in range(count if found else 0)]
    return without_repeats(rephrasings(prompt) + drawn, prompt)


def _exchanged(prompt: str, found: list[re.Match[str]], generator: torch.Generator) -> str:
    for each in reversed(found):  # from the end, so that earlier positions stay valid
        words = choose_one([each[0], *synonyms_of(each[0])], generator)
        prompt = put(prompt, *each.span(), words)
    return prompt
