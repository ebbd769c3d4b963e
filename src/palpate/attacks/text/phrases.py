"""Attacks that replace the whole prompt: paraphrases, negations, no text, other prompts."""

import re

import torch

from palpate.attacks.core.draws import in_random_order
from palpate.attacks.text.source import PromptSource
from palpate.text.lexicon import without_repeats

_NEGATIVE = re.compile(r"\s*(?:no|not|without)\b", re.IGNORECASE)
_ARTICLE = re.compile(r"(?:one|a single|an?)\s+(?=\S)", re.IGNORECASE)
_NEGATIONS = (
    "no {}",
    "not {}",
    "anything but {}",
    "everything except {}",
    "there is no {}",
    "an image without {}",
)


def levels(source: PromptSource) -> list[str]:
    """The benign set: the prompt and all texts that describe the same object in the same image.

    The empty text is left out, because it describes nothing; see :func:`empty`.
    """
    return [text for text in dict.fromkeys((source.prompt, *source.own)) if text.strip()]


def negations(source: PromptSource) -> list[str]:
    """Negations of the prompt, without its "one" or "a".

    There are none for a prompt that is empty or a negation itself.

    >>> negations(PromptSource("Myocardium of the heart."))[0]
    'no myocardium of the heart.'
    >>> negations(PromptSource("one small polyp"))[2]
    'anything but small polyp'
    """
    prompt = source.prompt.strip()
    if not prompt or _NEGATIVE.match(prompt):
        return []
    prompt = _ARTICLE.sub("", prompt, count=1) if _ARTICLE.match(prompt) else prompt
    start, rest = prompt[0], prompt[1:]
    # The first word becomes lower case, unless it is an abbreviation such as "MRI".
    spoken = (start if rest[:1].isupper() else start.lower()) + rest
    return [negation.format(spoken) for negation in _NEGATIONS]


def empty(source: PromptSource) -> list[str]:
    """The empty text."""
    return without_repeats([""], source.prompt)


def beside(source: PromptSource) -> list[str]:
    """Texts about other objects in the same image."""
    return _foreign(source, source.beside)


def others(source: PromptSource, *, count: int = 16, generator: torch.Generator) -> list[str]:
    """Texts of other images, which may or may not describe something in this one.

    Args:
        source: The texts are drawn from its ``others``.
        count: Number of texts to draw, at least 1.
        generator: Draws the texts.

    Raises:
        ValueError: If count is not positive.
    """
    if count < 1:
        raise ValueError(f"Expected count >= 1, got {count}.")
    return in_random_order(_foreign(source, source.others), generator)[:count]


def _foreign(source: PromptSource, texts: tuple[str, ...]) -> list[str]:
    own = {source.prompt, *source.own}
    return [text for text in dict.fromkeys(texts) if text.strip() and text not in own]
