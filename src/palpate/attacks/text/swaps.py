"""Prompts with one wrong attribute: place, size, colour, number, side or structure.

If the image contains the object that the changed prompt describes, for example the other of two
polyps, a model should segment that object; if its DSC does not change, it ignores the attribute. In
images of one object there is no correct prediction, but the change of the DSC shows how much the
model uses the attribute.
"""

import re
from collections.abc import Iterable
from itertools import chain

from palpate.attacks.text.source import PromptSource
from palpate.errors import did_you_mean
from palpate.text.lexicon import Family, lexicon, pattern, put, without_repeats
from palpate.text.positions import PLACES, find_places

PLACE = "place"

# Words after these describe objects of this kind in general, or the image.
_HEAD_ENDS = re.compile(r"\b(?:which|that|located|with)\b", re.IGNORECASE)
_AND = r"(?:\s*,\s*|\s+and\s+)"


def swap(source: PromptSource, *, attribute: str) -> list[str]:
    """The prompt with one attribute changed and every other character unchanged.

    >>> swap(PromptSource("one small red polyp"), attribute="size")
    ['one tiny red polyp', 'one medium red polyp', 'one large red polyp']
    >>> swap(PromptSource("polyp in the top left of the image"), attribute="place")[-1]
    'polyp in the bottom right of the image'

    Args:
        source: Its prompt is changed.
        attribute: ``place``, or one of those in the lexicon: ``size``, ``colour``, ``shape``,
            ``number``, ``side`` (of the body) and ``structure``.

    Returns:
        One text for each other value; none if the prompt does not name the attribute. If it lists
        several values, one value replaces the list.

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
    """The first of ``words``, or list of them, in the part of the prompt that names the object."""
    one = pattern(words).pattern
    group = re.compile(rf"{one}(?:{_AND}{one})*", re.IGNORECASE)
    end = _HEAD_ENDS.search(prompt)
    taken = find_places(prompt)  # "left" as part of a place is not a side of the body
    for found in group.finditer(prompt, 0, end.start() if end else len(prompt)):
        if not any(found.start() < place.end and place.start < found.end() for place in taken):
            return found
    return None
