"""Texts that say one thing wrong: another place, size, colour, number, side or structure.

A model that listens must follow such a text where the image holds what it now names, as images of
two polyps do; a model that does not lose anything by it has not read it. On images of one thing
there is no right answer, but the DSC says what the word was worth.
"""

import re
from collections.abc import Iterable
from itertools import chain

from palpate.attacks.text.source import PromptSource
from palpate.errors import did_you_mean
from palpate.text.lexicon import Family, lexicon, pattern, put, without_repeats
from palpate.text.positions import PLACES, find_places

PLACE = "place"

# Behind these, words describe things of this kind at large, or the recording.
_HEAD_ENDS = re.compile(r"\b(?:which|that|located|with)\b", re.IGNORECASE)
_AND = r"(?:\s*,\s*|\s+and\s+)"


def swap(source: PromptSource, *, attribute: str) -> list[str]:
    """The prompt with one attribute wrong and every other letter as it was.

    >>> swap(PromptSource("one small red polyp"), attribute="size")
    ['one tiny red polyp', 'one medium red polyp', 'one large red polyp']
    >>> swap(PromptSource("polyp in the top left of the image"), attribute="place")[-1]
    'polyp in the bottom right of the image'

    Args:
        source: Its prompt is changed.
        attribute: ``place``, or one of those in the lexicon: ``size``, ``colour``, ``shape``,
            ``number``, ``side`` (of the body) and ``structure``.

    Returns:
        One text for each wrong word; none where the prompt does not say the attribute. Where it
        lists several words one takes the place of the list.

    Raises:
        ValueError: If there is no such attribute.
    """
    known = [PLACE, *lexicon().attributes]
    if attribute not in known:
        raise ValueError(
            f"Expected an attribute among {', '.join(known)}, got {attribute!r}."
            f"{did_you_mean(attribute, known)}"
        )
    if attribute == PLACE:
        return without_repeats(list(_other_places(source.prompt)), source.prompt)
    families = lexicon().attributes[attribute]
    texts = chain.from_iterable(_other_words(source.prompt, family) for family in families)
    return without_repeats(list(texts), source.prompt)


def _other_places(prompt: str) -> Iterable[str]:
    found = find_places(prompt)
    if not found:
        return
    first = found[0]
    for place in PLACES:
        if place not in first.places:
            yield put(prompt, first.start, first.end, place)


def _other_words(prompt: str, family: Family) -> Iterable[str]:
    words = tuple(chain.from_iterable(family))
    found = _first_group(prompt, words)
    if found is None:
        return
    said = {word.lower() for word in pattern(words).findall(found[0])}
    for concept in family:
        if not said & set(concept):
            yield put(prompt, *found.span(), concept[0])


def _first_group(prompt: str, words: tuple[str, ...]) -> re.Match[str] | None:
    """The first word or list of words that describes what the prompt is about."""
    one = pattern(words).pattern
    group = re.compile(rf"{one}(?:{_AND}{one})*", re.IGNORECASE)
    end = _HEAD_ENDS.search(prompt)
    taken = find_places(prompt)  # "left" in a place is no side of the body
    for found in group.finditer(prompt, 0, end.start() if end else len(prompt)):
        if not any(found.start() < place.end and place.start < found.end() for place in taken):
            return found
    return None
