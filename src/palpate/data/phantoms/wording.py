"""Prompts of phantoms from their attributes, at the prompt levels of the published annotations.

Every prompt identifies one structure. In a scene with two polyps or lesions, prompts whose level
does not include the colour would fit both, so that the colour is added.
"""

from collections.abc import Sequence

from palpate.data.phantoms.echo import HeartAttributes
from palpate.data.phantoms.words import Attributes
from palpate.data.wording import compose, fact_words, general_facts, wording_of

_NAMES = {
    "left ventricle": "Left ventricular cavity",
    "myocardium": "Myocardium",
    "left atrium": "Left atrial cavity",
}


def lesion_prompts(asked: Sequence[Attributes], number: int) -> dict[str, tuple[str, ...]]:
    """Write the prompts of a polyp or skin lesion: from its name to size, position and facts.

    Args:
        asked: Attributes of all polyps or lesions of the scene.
        number: Index of the one to describe.

    Returns:
        Texts by level, ``p0`` (empty) to ``p9``; ``p7`` to ``p9`` have one phrasing per fact.
    """
    words = asked[number]
    colour = f"{words.colour} " if len(asked) > 1 else ""
    named = f"one {words.size} {words.colour} {words.shape} {words.structure}"
    where = f"located in the {words.place} of the image"
    general = general_facts(words.structure)
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
    """Write the prompts of a structure of the heart, by the templates of CAMUS.

    Args:
        asked: Attributes of all structures of the scene.
        number: Index of the one to describe.

    Returns:
        Texts by level.
    """
    words = asked[number]
    facts = {
        "view": words.view,
        "phase": words.phase,
        "sex": words.sex,
        "age": str(words.age),
        "quality": words.quality,
    }
    values = {**fact_words(facts), "structure": _NAMES[words.structure], "shape": words.shape}
    prompts = compose(wording_of("camus"), values)
    return {
        level: (texts,) if isinstance(texts, str) else tuple(texts)
        for level, texts in prompts.items()
    }
