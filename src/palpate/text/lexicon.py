"""Words for the same and words that exclude each other, and how they are found in a text.

Data write them into prompts, attacks exchange them; hence neither owns them.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import yaml

Concept: TypeAlias = tuple[str, ...]  # words for the same; the first is the usual one
Family: TypeAlias = tuple[Concept, ...]  # concepts that exclude each other


class Lexicon(NamedTuple):
    """What ``lexicon.yaml`` says, in lower case.

    Attributes:
        attributes: Families by the name of the attribute that tells their concepts apart.
        synonyms: Words for the same, which may be exchanged for each other.
    """

    attributes: Mapping[str, tuple[Family, ...]]
    synonyms: tuple[Concept, ...]


@cache
def lexicon() -> Lexicon:
    """The words that come with palpate."""
    text = files("palpate.text").joinpath("lexicon.yaml").read_text(encoding="utf-8")
    given: dict[str, Any] = yaml.safe_load(text)
    attributes = {
        name: tuple(tuple(_concept(words) for words in family) for family in families)
        for name, families in given["attributes"].items()
    }
    return Lexicon(attributes, tuple(tuple(words) for words in given["synonyms"]))


def hash_lexicon() -> str:
    """Hash of all words, so that texts made with others can be told apart."""
    return blake2b(repr(lexicon()).encode(), digest_size=8).hexdigest()


@cache
def pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Finds any of the words or phrases as a whole, the longest that fits.

    A hyphen binds: there is no "two" in "two-chamber", but there is an "oval" in "oval-shaped".

    >>> pattern(("two", "oval")).findall("two oval-shaped things in two-chamber view")
    ['two', 'oval']
    """
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    return re.compile(
        rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest_first))})(?!\w|-(?!shaped\b))",
        re.IGNORECASE,
    )


def put(text: str, start: int, end: int, words: str) -> str:
    """``text`` with other words from ``start`` to ``end``, capitalised as those were.

    >>> put("Left ventricle", 0, 4, "right")
    'Right ventricle'
    """
    if text[start : start + 1].isupper():
        words = words[:1].upper() + words[1:]
    return text[:start] + words + text[end:]


def synonyms_of(words: str) -> list[str]:
    """Other words for the same; ``words`` must be in the lexicon.

    >>> synonyms_of("Small")
    ['little']
    """
    said = words.lower()
    (same,) = (each for each in lexicon().synonyms if said in each)
    return [other for other in same if other != said]


def exchangeable(text: str) -> list[re.Match[str]]:
    """Words and phrases of a text that have synonyms, from left to right."""
    return list(pattern(tuple(chain.from_iterable(lexicon().synonyms))).finditer(text))


def rephrasings(text: str) -> list[str]:
    """The text with one word or phrase exchanged for another that means the same, in every way.

    >>> rephrasings("one small wart")
    ['a single small wart', 'one little wart']
    """
    return [
        put(text, *found.span(), other)
        for found in exchangeable(text)
        for other in synonyms_of(found[0])
    ]


def without_repeats(texts: Sequence[str], original: str) -> list[str]:
    """Texts in their order, each once, and never the original."""
    return [text for text in dict.fromkeys(texts) if text != original]


def _concept(words: str) -> Concept:
    return tuple(word.strip() for word in words.split("|"))
