"""SegPGD and CosPGD: projected gradient descent on a cross-entropy that weights pixels."""

import inspect
from typing import Any

from palpate.attacks.gradient.pgd import pgd
from palpate.attacks.losses import CosPGD, SegPGD
from palpate.types import Attack, Images, LogitsFn, Loss, Masks

_PGD = inspect.signature(pgd)
# The arguments of PGD without the loss, which each variant fixes.
_SIGNATURE = _PGD.replace(parameters=[p for p in _PGD.parameters.values() if p.name != "loss"])


def _pgd_with(loss: Loss, name: str, doc: str) -> Attack:
    """Make a function that runs PGD with a fixed loss, with its own name, signature and docstring.

    Recipes, the table of attacks and the fingerprints of rows read them. A ``partial`` of PGD has
    no name, and its docstring is not that of the variant.
    """

    def attack(model: LogitsFn, images: Images, masks: Masks, **options: Any) -> Images:
        _SIGNATURE.bind(model, images, masks, **options)  # refuses ``loss`` and unknown options
        return pgd(model, images, masks, loss=loss, **options)

    attack.__name__ = attack.__qualname__ = name
    attack.__doc__ = doc
    attack.__signature__ = _SIGNATURE  # type: ignore[attr-defined]
    return attack


segpgd = _pgd_with(
    SegPGD(),
    "segpgd",
    """SegPGD (Gu et al., 2022, https://arxiv.org/abs/2207.12391).

    :func:`palpate.attacks.pgd` with the loss :class:`palpate.attacks.losses.SegPGD`. Arguments,
    return value, errors and warnings are those of :func:`~palpate.attacks.pgd`.
    """,
)

cospgd = _pgd_with(
    CosPGD(),
    "cospgd",
    """CosPGD (Agnihotri et al., 2024, https://arxiv.org/abs/2302.02213).

    :func:`palpate.attacks.pgd` with the loss :class:`palpate.attacks.losses.CosPGD`. Arguments,
    return value, errors and warnings are those of :func:`~palpate.attacks.pgd`.
    """,
)
