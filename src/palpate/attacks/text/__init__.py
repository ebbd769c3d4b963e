"""Attacks that leave the image unchanged and change the prompt.

A text attack proposes candidates and selects the most harmful one for each image, see
:func:`attack_text`. The image is encoded once, so a candidate costs one pass through the text
encoder and the decoder.

What a robust model should do depends on the kind of attack. After *benign* attacks the text still
describes the object in the mask, so the DSC should not change. The main benign set is
``text-levels``: all descriptions of the object in the data. The *sensitivity* of a sample is its
best minus its worst DSC over this set. After *adversarial* attacks the text describes something
else or nothing. If it describes another object in the image (``text-beside``, and swaps in images
of two objects), the DSC should fall; if it does not fall, the model ignores the text. If the text
describes nothing in the image, the prediction should be empty, but the data have no mask for this
case.
"""

import warnings
from functools import partial
from typing import Any

from palpate.attacks.text.attack import AttackedText, Kind, TextAttack, attack_text
from palpate.attacks.text.characters import character_noise
from palpate.attacks.text.embedding import embedding_pgd
from palpate.attacks.text.hotflip import hotflip
from palpate.attacks.text.joint import Pair, joint
from palpate.attacks.text.phrases import beside, empty, levels, negations, others
from palpate.attacks.text.prompted import Prompted, Spelled, Whole
from palpate.attacks.text.source import PromptSource
from palpate.attacks.text.swaps import swap
from palpate.attacks.text.synonyms import synonyms
from palpate.attacks.text.view import Harm, View

__all__ = [
    "TEXT_ATTACKS",
    "AttackedText",
    "Harm",
    "Kind",
    "Pair",
    "PromptSource",
    "Prompted",
    "Spelled",
    "TextAttack",
    "View",
    "Whole",
    "attack_text",
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
    "swap",
    "synonyms",
]


def embedding(
    *, radius: float | None = None, cosine: float | None = None, steps: int = 20, restarts: int = 1
) -> TextAttack:
    """PGD on the condition, as a text attack. Its norm and epsilon are those of the region.

    Args:
        radius: See :func:`embedding_pgd`. The norm of the attack is then ``"embedding"`` and its
            epsilon the radius.
        cosine: Smallest cosine, instead of a radius. The norm of the attack is then ``"cosine"``
            and its epsilon ``1 - cosine``.
        steps: Number of updates.
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
            "palpate.attacks.text.Finding is deprecated: it is called AttackedText now.",
            DeprecationWarning,
            stacklevel=2,
        )
        return AttackedText
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
