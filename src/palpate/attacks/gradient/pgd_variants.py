"""SegPGD and CosPGD: projected gradient descent on a cross-entropy that weights pixels."""

import inspect
from functools import wraps
from typing import Any

from palpate.attacks.gradient.pgd import pgd
from palpate.attacks.losses import CosPGD, SegPGD
from palpate.types import Attack, Images, LogitsFn, Masks

_PGD = inspect.signature(pgd)
# The arguments of PGD without the loss, which each variant fixes.
_SIGNATURE = _PGD.replace(parameters=[p for p in _PGD.parameters.values() if p.name != "loss"])


def _with_options_of_pgd(variant: Attack) -> Attack:
    """Give a variant the signature of PGD without the loss, and refuse other arguments."""

    @wraps(variant)
    def checked(model: LogitsFn, images: Images, masks: Masks, **options: Any) -> Images:
        _SIGNATURE.bind(model, images, masks, **options)  # refuses ``loss`` and unknown options
        return variant(model, images, masks, **options)

    checked.__signature__ = _SIGNATURE  # type: ignore[attr-defined]
    return checked


@_with_options_of_pgd
def segpgd(model: LogitsFn, images: Images, masks: Masks, **options: Any) -> Images:
    """SegPGD (Gu et al., 2022, https://arxiv.org/abs/2207.12391).

    :func:`palpate.attacks.pgd` with the loss :class:`palpate.attacks.losses.SegPGD`. Arguments,
    return value, errors and warnings are those of :func:`~palpate.attacks.pgd`.
    """
    return pgd(model, images, masks, loss=SegPGD(), **options)


@_with_options_of_pgd
def cospgd(model: LogitsFn, images: Images, masks: Masks, **options: Any) -> Images:
    """CosPGD (Agnihotri et al., 2024, https://arxiv.org/abs/2302.02213).

    :func:`palpate.attacks.pgd` with the loss :class:`palpate.attacks.losses.CosPGD`. Arguments,
    return value, errors and warnings are those of :func:`~palpate.attacks.pgd`.
    """
    return pgd(model, images, masks, loss=CosPGD(), **options)
