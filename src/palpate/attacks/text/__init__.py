"""Attacks that keep the image and change what the model is asked for.

A text attack gives candidates, and an image gets the one that does it most harm, as measured on
the text itself, see :func:`press_text`. With the image encoded once a candidate costs a pass
through text tower and decoder.

What a good model owes us depends on the attack. Under *benign* ones the text still means what the
mask shows: the DSC must stay. The benign set proper is ``text-levels``, all ways in which the data
describe the thing; the *sensitivity* of a sample is its best minus its worst DSC over them.
*Adversarial* ones mean something else or nothing. Where another thing in the image is meant
(``text-beside``, and the swaps in images of two things) a model that listens must let go of the
mask; a DSC that stays shows a model that does not. Where nothing fits, nothing should be found, but
no mask says so.
"""

import warnings
from functools import partial
from typing import Any

from palpate.attacks.text.attack import ChosenText, Kind, TextAttack, press_text
from palpate.attacks.text.characters import character_noise
from palpate.attacks.text.embedding import embedding_pgd
from palpate.attacks.text.hotflip import hotflip
from palpate.attacks.text.joint import Pair, joint
from palpate.attacks.text.phrases import beside, empty, levels, negations, others
from palpate.attacks.text.prompted import Prompted, Spelled
from palpate.attacks.text.source import PromptSource
from palpate.attacks.text.swaps import swap
from palpate.attacks.text.synonyms import synonyms
from palpate.attacks.text.view import Harm, View
from palpate.attacks.text.whole import Whole

__all__ = [
    "TEXT_ATTACKS",
    "ChosenText",
    "Harm",
    "Kind",
    "Pair",
    "PromptSource",
    "Prompted",
    "Spelled",
    "TextAttack",
    "View",
    "Whole",
    "beside",
    "character_noise",
    "embedding",
    "embedding_pgd",
    "empty",
    "hotflip",
    "joint",
    "levels",
    "negations",
    "others",
    "press_text",
    "swap",
    "synonyms",
]


def embedding(
    *, radius: float | None = None, cosine: float | None = None, steps: int = 20, restarts: int = 1
) -> TextAttack:
    """PGD on the condition; norm and strength of its rows are those of the region.

    Args:
        radius: See :func:`embedding_pgd`; the norm is ``"embedding"``, the strength the radius.
        cosine: In its place; the norm is ``"cosine"``, the strength one minus the cosine.
        steps: Updates.
        restarts: Independent runs.
    """
    search = partial(embedding_pgd, radius=radius, cosine=cosine, steps=steps, restarts=restarts)
    norm, epsilon = ("embedding", radius or 0.0) if cosine is None else ("cosine", 1 - cosine)
    return TextAttack(search, "adversarial", norm=norm, epsilon=epsilon)


_TYPOS = partial(character_noise, slips=("typo", "swap"))
_LOOKALIKES = partial(character_noise, slips=("homoglyph",))
_CASING = partial(character_noise, slips=("casing",))

TEXT_ATTACKS: dict[str, TextAttack] = {
    "text-levels": TextAttack(levels, "benign"),
    "text-levels-best": TextAttack(levels, "benign", pick="best"),
    "text-synonyms": TextAttack(synonyms, "benign"),
    "text-typos": TextAttack(_TYPOS, "benign"),
    "text-homoglyphs": TextAttack(_LOOKALIKES, "benign"),
    "text-casing": TextAttack(_CASING, "benign"),
    "text-place": TextAttack(partial(swap, attribute="place"), "adversarial"),
    "text-size": TextAttack(partial(swap, attribute="size"), "adversarial"),
    "text-colour": TextAttack(partial(swap, attribute="colour"), "adversarial"),
    "text-shape": TextAttack(partial(swap, attribute="shape"), "adversarial"),
    "text-number": TextAttack(partial(swap, attribute="number"), "adversarial"),
    "text-side": TextAttack(partial(swap, attribute="side"), "adversarial"),
    "text-structure": TextAttack(partial(swap, attribute="structure"), "adversarial"),
    "text-negation": TextAttack(negations, "adversarial"),
    "text-empty": TextAttack(empty, "adversarial"),
    "text-beside": TextAttack(beside, "adversarial"),
    "text-others": TextAttack(others, "adversarial"),
    "text-hotflip": TextAttack(hotflip, "adversarial"),
    "text-embedding": embedding(radius=0.5),
}


def __getattr__(name: str) -> Any:
    if name == "Finding":
        warnings.warn(
            "palpate.attacks.text.Finding is deprecated: it is called ChosenText now.",
            DeprecationWarning,
            stacklevel=2,
        )
        return ChosenText
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
