"""Adversarial attacks: plain functions from a model, images and masks to images."""

from palpate.attacks._ascent import ZeroGradientWarning
from palpate.attacks.fgsm import fgsm
from palpate.attacks.hopskipjump import NotBrokenWarning, hopskipjump
from palpate.attacks.losses import bce, bce_dice, dice, margin
from palpate.attacks.noise import noise
from palpate.attacks.pgd import default_step_size, pgd
from palpate.attacks.selection import Selectable
from palpate.attacks.simba import simba
from palpate.attacks.spsa import spsa
from palpate.attacks.square import square
from palpate.types import Attack, Loss

__all__ = [
    "ATTACKS",
    "LOSSES",
    "NotBrokenWarning",
    "Selectable",
    "ZeroGradientWarning",
    "default_step_size",
    "fgsm",
    "hopskipjump",
    "noise",
    "pgd",
    "simba",
    "spsa",
    "square",
]

ATTACKS: dict[str, Attack] = {
    "noise": noise,
    "fgsm": fgsm,
    "pgd": pgd,
    "square": square,
    "spsa": spsa,
    "simba": simba,
    "hopskipjump": hopskipjump,
}

LOSSES: dict[str, Loss] = {"bce": bce, "dice": dice, "bce_dice": bce_dice, "margin": margin}
