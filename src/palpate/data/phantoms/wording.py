"""From attributes to texts, at the levels that the annotations of the real sets have.

Every text names one thing. Where a scene holds two of a kind, the levels that do not say the
colour would fit both; there they say it.
"""

from collections.abc import Sequence

from palpate.data.phantoms.echo import HeartAttributes
from palpate.data.phantoms.words import Attributes

_GENERAL = {
    "polyp": (
        "bulges from the lining of the bowel",
        "rises as a mound of mucosa",
        "protrudes into the lumen of the colon",
        "is a lump that grows on the bowel wall",
        "is a raised growth of glandular tissue",
    ),
    "skin lesion": (
        "is a patch of pigment on the skin",
        "stands out from the skin around it",
        "is a spot with uneven pigment",
        "is a mole with a network of dark lines",
        "is a mark with an irregular border",
    ),
}
_NAMES = {
    "left ventricle": "Left ventricular cavity",
    "myocardium": "Myocardium",
    "left atrium": "Left atrial cavity",
}
_SETTINGS = ("of the heart", "in an echocardiogram")
_ONES = ["-", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def lesion_prompts(asked: Sequence[Attributes], number: int) -> dict[str, tuple[str, ...]]:
    """Texts for a polyp or skin lesion: name, shape, colour, size, count, place, and general.

    Args:
        asked: All that the scene holds.
        number: Which of these the texts are about.
    """
    words = asked[number]
    colour = f"{words.colour} " if len(asked) > 1 else ""
    named = f"one {words.size} {words.colour} {words.shape} {words.structure}"
    where = f"located in the {words.place} of the image"
    general = _GENERAL[words.structure]
    return {
        "p0": ("",),
        "p1": (f"{colour}{words.structure}",),
        "p2": (f"{colour}{words.shape} {words.structure}",),
        "p3": (f"{words.colour} {words.shape} {words.structure}",),
        "p4": (f"{words.size} {words.colour} {words.shape} {words.structure}",),
        "p5": (named,),
        "p6": (f"{named}, {where}",),
        "p7": tuple(f"{colour}{words.structure} which {fact}" for fact in general),
        "p8": tuple(f"{named} which {fact}" for fact in general),
        "p9": tuple(f"{named} which {fact}, {where}" for fact in general),
    }


def heart_prompts(asked: Sequence[HeartAttributes], number: int) -> dict[str, tuple[str, ...]]:
    """Texts for a structure of the heart: name, view, phase, sex, age, quality, shape."""
    words = asked[number]
    name = _NAMES[words.structure]
    shaped = f"{name} of {words.shape} shape"
    view = f"in the {words.view} view"
    phase = f"at end-{words.phase}"
    sex = f"of a {words.sex} patient"
    article = "an" if words.age // 10 == 8 else "a"
    age = f"of {article} {_in_words(words.age)}-year-old {words.sex} patient"
    quality = f"with {words.quality} image quality"
    parts = {
        "p1": (name, ""),
        "p2": (name, view),
        "p3": (name, f"{view} {phase}"),
        "p4": (name, f"{view} {phase} {sex}"),
        "p5": (name, f"{view} {phase} {age}"),
        "p6": (name, f"{view} {phase} {age} {quality}"),
        "p7": (shaped, f"{view} {phase} {age} {quality}"),
    }
    texts = {
        level: tuple(f"{subject} {setting} {rest}".strip() for setting in _SETTINGS)
        for level, (subject, rest) in parts.items()
    }
    return {"p0": ("",), **texts}


def _in_words(number: int) -> str:
    """A number from 20 to 99.

    >>> _in_words(90), _in_words(47)
    ('ninety', 'forty-seven')
    """
    tens, ones = divmod(number, 10)
    return f"{_TENS[tens]}-{_ONES[ones]}" if ones else _TENS[tens]
