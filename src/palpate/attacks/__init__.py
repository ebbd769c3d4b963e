"""Adversarial attacks: plain functions from a model, images and masks to images."""

from palpate.attacks._ascent import ZeroGradientWarning
from palpate.attacks._shortest import UnbrokenWarning
from palpate.attacks.alma_prox import alma_prox
from palpate.attacks.asma import asma
from palpate.attacks.bisection import bisection
from palpate.attacks.dag import dag
from palpate.attacks.ddn import ddn
from palpate.attacks.fgsm import fgsm
from palpate.attacks.losses import bce, bce_dice, dice, margin
from palpate.attacks.noise import noise
from palpate.attacks.pdpgd import pdpgd
from palpate.attacks.pgd import default_step_size, pgd
from palpate.attacks.selection import Selectable
from palpate.types import Attack, Loss

__all__ = [
    "ATTACKS",
    "LOSSES",
    "Selectable",
    "UnbrokenWarning",
    "ZeroGradientWarning",
    "alma_prox",
    "asma",
    "bisection",
    "dag",
    "ddn",
    "default_step_size",
    "fgsm",
    "noise",
    "pdpgd",
    "pgd",
]

ATTACKS: dict[str, Attack] = {
    "noise": noise,
    "fgsm": fgsm,
    "pgd": pgd,
    # These take no epsilon: they look for the smallest one.
    "bisection": bisection,
    "ddn": ddn,
    "pdpgd": pdpgd,
    "alma_prox": alma_prox,
    "asma": asma,
    "dag": dag,
}

LOSSES: dict[str, Loss] = {"bce": bce, "dice": dice, "bce_dice": bce_dice, "margin": margin}
