"""Metadata of a recording (view, age, findings, ...) in the words of prompts."""

import re
from collections.abc import Mapping

from palpate.data.wording.wordings import pattern_of_names, spellings

_UNKNOWN = {"", "-", "?", "n/a", "na", "nan", "none", "null", "o", "other", "unknown", "unk"}
_YEARS = re.compile(r"0*(\d+)(?:\.\d+)?\s*(?:y|yr|yrs|year|years|years old)?", re.IGNORECASE)
_OLDEST = 120  # years; larger numbers are codes, such as 999 for unknown
_LISTED = re.compile(r"\s*[;|,]\s*")

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def fact_words(facts: Mapping[str, str]) -> dict[str, str]:
    """Convert metadata to the words of prompts; unknown values are omitted.

    >>> fact_words({"view": "4CH", "sex": "F", "age": "056Y", "quality": "unknown"})["patient"]
    'fifty-six-year-old female patient'
    >>> fact_words({"phase": "ED", "findings": "Edema; Atelectasis", "device": "GE Vivid"})
    {'phase': 'diastole', 'findings': 'edema, atelectasis', 'device': 'GE Vivid'}

    Args:
        facts: ``view``, ``phase``, ``sex``, ``age`` (in years), ``quality``, ``pathology`` and
            ``findings`` (several separated by commas, semicolons or bars) are converted to the
            words of palpate's templates; any other fact is not changed.

    Returns:
        Words by the same names, and ``patient`` if sex or age are known. An age that is not a
        number of years up to 120 counts as unknown.
    """
    given = {name: " ".join(str(value).split()) for name, value in facts.items()}
    known = {name: text for name, text in given.items() if text.lower() not in _UNKNOWN}
    words = {name: word for name, text in known.items() if (word := _word(name, text))}
    person = [words[name] for name in ("age", "sex") if name in words]
    return words | ({"patient": " ".join([*person, "patient"])} if person else {})


def facts_in_name(dataset: str, image_name: str) -> dict[str, str]:
    """Extract facts from the name of a published file.

    >>> facts_in_name("camus", "patient0001_2CH_ED.png")
    {'view': '2CH', 'phase': 'ED'}
    """
    pattern = pattern_of_names(dataset)
    found = pattern.search(image_name) if pattern else None
    return found.groupdict() if found else {}


def in_words(number: int) -> str:
    """Write a number below a hundred in words, a larger one in digits.

    >>> in_words(3), in_words(90), in_words(47), in_words(104)
    ('three', 'ninety', 'forty-seven', '104')

    Args:
        number: Not negative.
    """
    if number < len(_ONES):
        return _ONES[number]
    if number >= 100:
        return str(number)
    tens, ones = divmod(number, 10)
    return f"{_TENS[tens - 2]}-{_ONES[ones]}" if ones else _TENS[tens - 2]


def _word(field: str, text: str) -> str | None:
    """Word for the value of a fact; None if it is unknown."""
    if field == "age":
        years = _YEARS.fullmatch(text)
        if years is None or int(years[1]) > _OLDEST:
            return None
        return f"{in_words(int(years[1]))}-year-old"
    if field == "findings":
        return ", ".join(part.lower() for part in _LISTED.split(text) if part)
    if field in ("view", "phase", "sex", "quality", "pathology"):
        return spellings(field).get(text.lower(), text.lower())
    return text
