"""Words that say where in the image a lesion is, and their mirror images."""

import re

_SIDES = {"left": "right", "right": "left"}
_HEIGHTS = {"top": "bottom", "bottom": "top", "upper": "lower", "lower": "upper"}

_PLACE = r"(?:top|bottom|upper|lower|left|right|cent(?:er|re)|middle)"
_PICTURE = r"(?:image|picture|view|frame|scan|photo(?:graph)?|x-ray|ultrasound)"
# A place, and only that: after the words comes the picture they refer to, or nothing. Whatever
# else follows ("in the left ventricle", "on the left side of the heart") names a part of a body.
_WHERE = re.compile(
    rf"\b(?:in|at|on|towards?)\s+(?:the\s+)?"
    rf"(?P<places>{_PLACE}(?:(?:\s*,\s*|\s+and\s+|\s+|-){_PLACE})*)"
    rf"(?=(?:\s+(?:side|part|half|corner|edge|area|region|quadrant))?"
    rf"(?:\s+(?:of|in)\s+(?:(?!\b(?:of|in)\b)[^.,;])*?\b{_PICTURE}\b|\s*[.,;]|\s*$))",
    re.IGNORECASE,
)


def mirror_words(prompt: str, *, horizontal: bool, vertical: bool) -> str:
    """The text for the mirrored image.

    Only words that say where in the image something is are exchanged, never a name.

    >>> mirror_words("polyp, located in top left of the image", horizontal=True, vertical=False)
    'polyp, located in top right of the image'
    >>> mirror_words("Left ventricular cavity of the heart.", horizontal=True, vertical=True)
    'Left ventricular cavity of the heart.'

    Args:
        prompt: Any text.
        horizontal: Whether left and right were exchanged.
        vertical: Whether top and bottom were exchanged.
    """
    swaps = (_SIDES if horizontal else {}) | (_HEIGHTS if vertical else {})
    if not swaps:
        return prompt
    words = re.compile("|".join(swaps), re.IGNORECASE)
    return _WHERE.sub(lambda found: words.sub(lambda word: _like(word, swaps), found[0]), prompt)


def _like(word: re.Match[str], swaps: dict[str, str]) -> str:
    swapped = swaps[word[0].lower()]
    return swapped.capitalize() if word[0][0].isupper() else swapped
