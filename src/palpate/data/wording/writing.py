"""Composition of the prompts of one mask, at all levels."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from jaxtyping import Bool, UInt8

from palpate.data.wording.colours import describe_colour
from palpate.data.wording.facts import fact_words, in_words
from palpate.data.wording.masks import SIZES, TRUE, Attributes, Rule, describe_mask
from palpate.data.wording.templates import Template
from palpate.data.wording.wordings import (
    NOTHING,
    Wording,
    general_facts,
    spoken_names,
    wording_of,
)
from palpate.text.lexicon import rephrasings


def write_prompts(
    dataset: str,
    structure: str,
    image: UInt8[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
    facts: Mapping[str, str],
    *,
    wording: Wording | None = None,
    rule: Rule = TRUE,
    synonyms: int = 0,
) -> dict[str, str | list[str]]:
    """Write the prompts of one mask, by level.

    Args:
        dataset: Name of the data set, which selects the templates.
        structure: Structure that the mask outlines.
        image: sRGB image (h, w, 3) in 0 to 255, from which the colour under the mask is measured.
        mask: Mask (h, w), on which number, size, position, shape and outline of the connected parts
            are measured.
        facts: Other metadata, see :func:`palpate.data.wording.fact_words`.
        wording: Templates; by default those of the data set.
        rule: Thresholds between words.
        synonyms: Largest number of additional phrasings of each text, each with one word or phrase
            replaced by a synonym.

    Returns:
        One text per level, or a list of several phrasings. ``p0`` is the empty text. For an empty
        mask, all other levels have the text for empty masks.

    Raises:
        ValueError: If image and mask differ in size, the name of the structure is empty, or a
            template needs a field without value.
    """
    if image.shape[:2] != mask.shape:
        raise ValueError(
            f"Expected a mask of the size of its image, got {mask.shape} for {image.shape[:2]}."
        )
    if not structure.strip():
        raise ValueError("Expected the name of what the mask outlines, got an empty one.")
    wording = wording or wording_of(dataset)
    found = describe_mask(mask, rule)
    values: dict[str, str | None] = {**fact_words(facts), **_spoken(structure, found)}
    if wording.asks_for("colour"):  # measuring it takes longest
        values["colour"] = describe_colour(image, mask)
    return compose(_for_number(wording, found.number), values, general_facts(structure), synonyms)


def compose(
    wording: Wording,
    values: Mapping[str, str | None],
    general: Sequence[str] = (),
    synonyms: int = 0,
) -> dict[str, str | list[str]]:
    """Fill the templates of each level with words.

    Args:
        wording: Templates by level.
        values: Word of each field; None or missing if it is unknown.
        general: General facts; each gives one phrasing of a template with ``{general}``.
        synonyms: Largest number of additional phrasings of each text.

    Returns:
        One text per level, or a list of several phrasings.

    Raises:
        ValueError: If a template needs a field without value.
    """
    prompts: dict[str, str | list[str]] = {}
    for level, templates in wording.levels.items():
        plain = list(chain.from_iterable(_filled(each, values, general) for each in templates))
        texts = list(dict.fromkeys(chain(plain, *(_again(text, synonyms) for text in plain))))
        prompts[level] = texts[0] if len(texts) == 1 else texts
    return prompts


def _for_number(wording: Wording, number: int) -> Wording:
    """The templates for a number of parts: those for empty masks if there is none."""
    if number:
        return wording
    levels = {level: (wording.empty,) for level in wording.levels if level != NOTHING}
    return Wording({NOTHING: wording.levels[NOTHING], **levels}, wording.empty)


def _spoken(structure: str, found: Attributes) -> dict[str, str | None]:
    """Words of the fields that depend on structure and mask."""
    one, several = spoken_names(structure)
    return {
        "structure": one,
        "structures": one if found.number == 1 else several,
        "which": "which" if found.number == 1 else "each of which",
        "number": in_words(found.number) if found.number else "no",
        "size": _listed(sorted(set(found.sizes), key=SIZES.index)),
        "place": _listed(list(dict.fromkeys(found.places))),
        "shape": found.shape,
        "outline": found.outline,
    }


def _listed(words: Sequence[str]) -> str | None:
    """Join words by commas and "and"; None if there are no words.

    >>> _listed(["top", "left", "center"])
    'top, left and center'
    """
    return " and ".join([part for part in (", ".join(words[:-1]), *words[-1:]) if part]) or None


def _filled(
    template: Template, values: Mapping[str, str | None], general: Sequence[str]
) -> list[str]:
    """Texts of a template: one, or one per general fact."""
    options: Sequence[str | None] = general if "general" in template.fields and general else [None]
    return [template.fill({**values, "general": option}) for option in options]


def _again(text: str, count: int) -> list[str]:
    """Up to ``count`` rephrasings of a text, evenly spaced among all of them."""
    others = rephrasings(text) if count else []
    every = -(-len(others) // count) if others else 1
    return others[::every]
