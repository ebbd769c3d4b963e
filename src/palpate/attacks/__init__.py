"""Adversarial attacks: plain functions from a model, images and masks to images."""

from palpate.attacks._ascent import ZeroGradientWarning
from palpate.attacks.adaptive import bpda, eot
from palpate.attacks.fgsm import fgsm
from palpate.attacks.losses import bce, bce_dice, dice, margin
from palpate.attacks.noise import noise
from palpate.attacks.pgd import default_step_size, pgd
from palpate.attacks.selection import Selectable
from palpate.attacks.threats import threat_model
from palpate.attacks.transfer import transfer
from palpate.attacks.universals import UniversalPerturbation, fit_universal, universal
from palpate.types import Attack, Loss

__all__ = [
    "ATTACKS",
    "LOSSES",
    "Selectable",
    "UniversalPerturbation",
    "ZeroGradientWarning",
    "bpda",
    "default_step_size",
    "eot",
    "fgsm",
    "fit_universal",
    "noise",
    "pgd",
    "threat_model",
    "transfer",
    "universal",
]

ATTACKS: dict[str, Attack] = {
    "noise": noise,
    "fgsm": fgsm,
    "pgd": pgd,
    "transfer": transfer,
    "universal": universal,
}

LOSSES: dict[str, Loss] = {"bce": bce, "dice": dice, "bce_dice": bce_dice, "margin": margin}
