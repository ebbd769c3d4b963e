"""Synonyms and mutually exclusive words (antonyms), and how to find them in a text.

Shared by the data stage, which writes them into prompts, and text attacks, which exchange them.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import yaml

Concept: TypeAlias = tuple[str, ...]  # synonyms; the first is the usual word
Family: TypeAlias = tuple[Concept, ...]  # concepts that exclude each other


class Lexicon(NamedTuple):
    """Content of ``lexicon.yaml``, in lower case.

    Attributes:
        attributes: Families by attribute (size, colour, ...), in which their concepts differ.
        synonyms: Groups of words that may be exchanged for each other.
    """

    attributes: Mapping[str, tuple[Family, ...]]
    synonyms: tuple[Concept, ...]


@cache
def lexicon() -> Lexicon:
    """The lexicon that comes with palpate."""
    text = files("palpate.text").joinpath("lexicon.yaml").read_text(encoding="utf-8")
    given: dict[str, Any] = yaml.safe_load(text)
    attributes = {
        name: tuple(tuple(_concept(words) for words in family) for family in families)
        for name, families in given["attributes"].items()
    }
    return Lexicon(attributes, tuple(tuple(words) for words in given["synonyms"]))


def hash_lexicon() -> str:
    """Hash of the lexicon, which identifies the version that texts were made with."""
    return blake2b(repr(lexicon()).encode(), digest_size=8).hexdigest()


@cache
def pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Regular expression for any of the words or phrases, as a whole, longest first.

    A hyphen joins words: "two" is not found in "two-chamber", but "oval" is in "oval-shaped".

    >>> pattern(("two", "oval")).findall("two oval-shaped things in two-chamber view")
    ['two', 'oval']
    """
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    return re.compile(
        rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest_first))})(?!\w|-(?!shaped\b))",
        re.IGNORECASE,
    )


def put(text: str, start: int, end: int, words: str) -> str:
    """``text`` with ``text[start:end]`` replaced by ``words``, keeping its capitalisation.

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
    """Texts in their order without repetitions and without the original."""
    return [text for text in dict.fromkeys(texts) if text != original]


def _concept(words: str) -> Concept:
    return tuple(word.strip() for word in words.split("|"))
