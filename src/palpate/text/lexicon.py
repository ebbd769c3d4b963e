"""The lexicon of synonyms and mutually exclusive words, and functions to find them in a text.

Used to write prompts for data sets and, in text attacks, to replace words.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import yaml

Concept: TypeAlias = tuple[str, ...]  # synonyms; the first is the preferred word
Family: TypeAlias = tuple[Concept, ...]  # mutually exclusive concepts


class Lexicon(NamedTuple):
    """Content of ``lexicon.yaml``, in lower case.

    Attributes:
        attributes: Families by the attribute in which their concepts differ (size, colour, ...).
        synonyms: Groups of words that may replace each other.
    """

    attributes: Mapping[str, tuple[Family, ...]]
    synonyms: tuple[Concept, ...]


@cache
def lexicon() -> Lexicon:
    """The lexicon included in palpate; read once."""
    text = files("palpate.text").joinpath("lexicon.yaml").read_text(encoding="utf-8")
    given: dict[str, Any] = yaml.safe_load(text)
    attributes = {
        name: tuple(tuple(_concept(words) for words in family) for family in families)
        for name, families in given["attributes"].items()
    }
    return Lexicon(attributes, tuple(tuple(words) for words in given["synonyms"]))


def hash_lexicon() -> str:
    """Hash of the lexicon, to record which version a text was made with."""
    return blake2b(repr(lexicon()).encode(), digest_size=8).hexdigest()


@cache
def pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Regular expression that matches any of the words or phrases as a whole, longest first.

    A hyphenated word counts as one word, except before "shaped": "two" does not match in
    "two-chamber", but "oval" matches in "oval-shaped".

    >>> pattern(("two", "oval")).findall("two oval-shaped things in two-chamber view")
    ['two', 'oval']
    """
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    return re.compile(
        rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest_first))})(?!\w|-(?!shaped\b))",
        re.IGNORECASE,
    )


def put(text: str, start: int, end: int, words: str) -> str:
    """Replace ``text[start:end]`` by ``words``, keeping the capital of its first letter.

    >>> put("Left ventricle", 0, 4, "right")
    'Right ventricle'
    """
    if text[start : start + 1].isupper():
        words = words[:1].upper() + words[1:]
    return text[:start] + words + text[end:]


def synonyms_of(words: str) -> list[str]:
    """Synonyms of a word or phrase of the lexicon.

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
    """All texts that result from replacing one word or phrase by a synonym.

    >>> rephrasings("one small wart")
    ['a single small wart', 'one little wart']
    """
    return [
        put(text, *found.span(), other)
        for found in exchangeable(text)
        for other in synonyms_of(found[0])
    ]


def without_repeats(texts: Sequence[str], original: str) -> list[str]:
    """Remove repeated texts and the original, keeping the order."""
    return [text for text in dict.fromkeys(texts) if text != original]


def _concept(words: str) -> Concept:
    return tuple(word.strip() for word in words.split("|"))
