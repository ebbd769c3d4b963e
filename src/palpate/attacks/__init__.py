"""Adversarial attacks: plain functions from a model, images and masks to images."""

from palpate.attacks._ascent import ZeroGradientWarning
from palpate.attacks.apgd import apgd
from palpate.attacks.cospgd import cospgd
from palpate.attacks.fgsm import fgsm
from palpate.attacks.losses import (
    MEDIS,
    NOTEBOOK,
    CosPGD,
    MaskedBCE,
    MaskedMargin,
    SegPGD,
    Tsallis,
    bce,
    bce_dice,
    dice,
    jensen_shannon,
    margin,
)
from palpate.attacks.medis import MEDIS_LOSSES, medis
from palpate.attacks.noise import noise
from palpate.attacks.pgd import default_step_size, pgd
from palpate.attacks.sea import sea
from palpate.attacks.segpgd import segpgd
from palpate.attacks.selection import Selectable
from palpate.types import Attack, Loss

__all__ = [
    "ATTACKS",
    "LOSSES",
    "MEDIS_LOSSES",
    "Selectable",
    "ZeroGradientWarning",
    "apgd",
    "cospgd",
    "default_step_size",
    "fgsm",
    "medis",
    "noise",
    "pgd",
    "sea",
    "segpgd",
]

ATTACKS: dict[str, Attack] = {
    "noise": noise,
    "fgsm": fgsm,
    "pgd": pgd,
    "segpgd": segpgd,
    "cospgd": cospgd,
    "apgd": apgd,
    "sea": sea,
    "medis": medis,
}

LOSSES: dict[str, Loss] = {
    "bce": bce,
    "dice": dice,
    "bce_dice": bce_dice,
    "margin": margin,
    "segpgd": SegPGD(),
    "cospgd": CosPGD(),
    "jensen_shannon": jensen_shannon,
    "masked_bce": MaskedBCE(),
    "masked_margin": MaskedMargin(),
    "tsallis": Tsallis(),
    **MEDIS,
    **NOTEBOOK,
}
