"""Prompt templates: ``one {size} [{colour}] {structure}``.

``{field}`` is replaced by a word. A part in ``[square brackets]`` is omitted if a field in it is
unknown, together with superfluous spaces and commas. ``{a age}`` puts "a" or "an" before the word.
``{{``, ``}}``, ``[[`` and ``]]`` are the bracket itself.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from palpate.errors import did_you_mean

_TOKEN = re.compile(
    r"(?P<twice>\{\{|\}\}|\[\[|\]\])|\{(?P<field>[^{}\[\]]*)\}|(?P<sign>[\[\]{}])|(?P<text>[^\[\]{}]+)"
)
_ARTICLE = re.compile(r"an?\s+")
_SOUNDS_LIKE_A_CONSONANT = ("one", "uni", "use", "eu")


class _Word(NamedTuple):
    text: str
    is_field: bool = False
    with_article: bool = False


class _Part(NamedTuple):
    words: tuple[_Word, ...]
    optional: bool


@dataclass(frozen=True)
class Template:
    """A text with fields; made by :func:`parse_template`.

    Attributes:
        source: The template as text.
        parts: Required and optional parts, in order.
    """

    source: str
    parts: tuple[_Part, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of all fields, each once, in order."""
        words = (word for part in self.parts for word in part.words)
        return tuple(dict.fromkeys(word.text for word in words if word.is_field))

    def fill(self, values: Mapping[str, str | None]) -> str:
        """Fill the fields with words and tidy spaces and punctuation.

        >>> template = parse_template("[{colour}] {structure}[, seen in {view}]", FIELDS)
        >>> template.fill({"structure": "polyp", "colour": None, "view": None})
        'polyp'

        Args:
            values: Word of each field; missing or None if it is unknown.

        Raises:
            ValueError: If a field outside square brackets is unknown.
        """
        text = "".join(self._filled(part, values) for part in self.parts)
        return re.sub(r"\s+(?=[,.;:!?])", "", " ".join(text.split())).strip(" ,;")

    def _filled(self, part: _Part, values: Mapping[str, str | None]) -> str:
        unknown = [word.text for word in part.words if word.is_field and not values.get(word.text)]
        if unknown and part.optional:
            return ""
        if unknown:
            raise ValueError(
                f"Expected to know {unknown[0]!r} for {self.source!r}, but it is not known here. "
                "Put the words that need it into [square brackets] to make them optional."
            )
        return "".join(_said(word, values) for word in part.words)


# Fields that every template may use; facts of a data set add their own names.
FIELDS = (
    "number", "size", "colour", "shape", "outline", "place", "structure", "structures", "which",
    "general", "view", "phase", "sex", "age", "patient", "quality", "pathology", "findings",
)  # fmt: skip


def parse_template(source: str, known: Collection[str] = FIELDS) -> Template:
    """Parse a template.

    Args:
        source: Text in the syntax of this module.
        known: Allowed names of fields.

    Raises:
        ValueError: If the name of a field is unknown or brackets are not balanced.
    """
    return Template(source, tuple(_parts(source, known)))


def _parts(source: str, known: Collection[str]) -> Iterator[_Part]:
    words: list[_Word] = []
    inside = False
    for found in _TOKEN.finditer(source):
        sign = found["sign"]
        if sign is None:
            words.append(_word(found, source, known))
        elif (sign, inside) in (("[", False), ("]", True)):
            yield _checked(_Part(tuple(words), optional=inside), source)
            words, inside = [], not inside
        else:
            raise ValueError(
                f"Expected brackets that come in pairs and not in each other in {source!r}, got a "
                f"single {sign!r} at letter {found.start() + 1}. Write {sign * 2!r} for the sign."
            )
    if inside:
        raise ValueError(f"Expected a ']' for the '[' in {source!r}. Write '[[' for the sign.")
    yield _Part(tuple(words), optional=False)


def _checked(part: _Part, source: str) -> _Part:
    if part.optional and not any(word.is_field for word in part.words):
        raise ValueError(
            f"Expected a field in the square brackets of {source!r}, since a part without one is "
            "never left out. Remove the brackets, or write '[[' and ']]' for the characters."
        )
    return part


def _word(found: re.Match[str], source: str, known: Collection[str]) -> _Word:
    if found["twice"]:
        return _Word(found["twice"][0])
    if found["field"] is None:
        return _Word(found["text"])
    said = found["field"].strip()
    name = _ARTICLE.sub("", said, count=1) if _ARTICLE.match(said) else said
    if name not in known:
        raise ValueError(
            f"Expected a field among {', '.join(known)} in {source!r}, got {said!r}."
            f"{did_you_mean(name, known)}"
        )
    return _Word(name, is_field=True, with_article=name != said)


def _said(word: _Word, values: Mapping[str, str | None]) -> str:
    text = (values[word.text] or "") if word.is_field else word.text
    return f"{_article(text)} {text}" if word.with_article else text


def _article(text: str) -> str:
    """The indefinite article ("a" or "an") for a text.

    >>> _article("eighty-year-old"), _article("one-year-old"), _article("oval")
    ('an', 'a', 'an')
    """
    said = text.lower()
    return "an" if said[:1] in "aeiou" and not said.startswith(_SOUNDS_LIKE_A_CONSONANT) else "a"
