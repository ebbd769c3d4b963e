"""Words for positions in the image, such as "top left": finding and mirroring them."""

import re
from typing import NamedTuple

PLACES = (
    "top left", "top", "top right", "left", "center", "right",
    "bottom left", "bottom", "bottom right",
)  # fmt: skip

_SIDES = {"left": "right", "right": "left"}
_HEIGHTS = {"top": "bottom", "bottom": "top", "upper": "lower", "lower": "upper"}

_SAME = {"upper": "top", "lower": "bottom", "centre": "center", "middle": "center"}

_PLACE = r"(?:top|bottom|upper|lower|left|right|cent(?:er|re)|middle)"
_PICTURE = r"(?:image|picture|view|frame|scan|photo(?:graph)?|x-ray|ultrasound)"
# A position in the image is followed by a word for the image or by nothing; anything else ("in the
# left ventricle", "on the left side of the heart") is anatomy and must not be mirrored.
_WHERE = re.compile(
    rf"\b(?:in|at|on|towards?)\s+(?:the\s+)?"
    rf"(?P<places>{_PLACE}(?:(?:\s*,\s*|\s+and\s+|\s+|-){_PLACE})*)"
    rf"(?=(?:\s+(?:side|part|half|corner|edge|area|region|quadrant))?"
    rf"(?:\s+(?:of|in)\s+(?:(?!\b(?:of|in)\b)[^.,;])*?\b{_PICTURE}\b|\s*[.,;]|\s*$))",
    re.IGNORECASE,
)


class PlaceWords(NamedTuple):
    """The position words ``text[start:end]`` of a text."""

    start: int
    end: int
    places: tuple[str, ...]  # each one of PLACES; several if the text lists several


def place_at(x: float, y: float) -> str:
    """Name of the cell of a 3 x 3 grid over the image that contains a point, or is nearest to it.

    >>> place_at(0.1, 0.2), place_at(0.5, 0.5), place_at(0.9, 1.0)
    ('top left', 'center', 'bottom right')

    Args:
        x: Distance from the left edge, as a fraction of the width.
        y: Distance from the top edge, as a fraction of the height.
    """
    column, row = (min(max(int(3 * value), 0), 2) for value in (x, y))
    return PLACES[3 * row + column]


def find_places(prompt: str) -> list[PlaceWords]:
    """Find words for positions in the image, but not those in anatomical names.

    >>> find_places("polyp, located in upper-left, centre of the image")
    [PlaceWords(start=18, end=36, places=('top left', 'center'))]
    >>> find_places("Left ventricular cavity of the heart.")
    []
    """
    return [
        PlaceWords(*found.span("places"), places=tuple(map(_plain, _split(found["places"]))))
        for found in _WHERE.finditer(prompt)
    ]


def mirror_words(prompt: str, *, horizontal: bool, vertical: bool) -> str:
    """Rewrite a prompt for the mirrored image.

    Only words for positions in the image are exchanged, not those in anatomical names.

    >>> mirror_words("polyp, located in top left of the image", horizontal=True, vertical=False)
    'polyp, located in top right of the image'
    >>> mirror_words("Left ventricular cavity of the heart.", horizontal=True, vertical=True)
    'Left ventricular cavity of the heart.'

    Args:
        prompt: Prompt for the original image.
        horizontal: Whether left and right were exchanged.
        vertical: Whether top and bottom were exchanged.
    """
    swaps = (_SIDES if horizontal else {}) | (_HEIGHTS if vertical else {})
    if not swaps:
        return prompt
    words = re.compile("|".join(swaps), re.IGNORECASE)
    return _WHERE.sub(lambda found: words.sub(lambda word: _like(word, swaps), found[0]), prompt)


def _split(places: str) -> list[str]:
    return re.split(r"\s*,\s*|\s+and\s+", places, flags=re.IGNORECASE)


def _plain(place: str) -> str:
    words = re.split(r"[\s-]+", place.lower())
    return " ".join(_SAME.get(word, word) for word in words)


def _like(word: re.Match[str], swaps: dict[str, str]) -> str:
    swapped = swaps[word[0].lower()]
    return swapped.capitalize() if word[0][0].isupper() else swapped
