"""Adversarial attacks: plain functions from a model, images and masks to images."""

from palpate.attacks._ascent import ZeroGradientWarning
from palpate.attacks.fgsm import fgsm
from palpate.attacks.losses import bce, bce_dice, dice, margin
from palpate.attacks.noise import noise
from palpate.attacks.pgd import default_step_size, pgd
from palpate.attacks.published import probability_loss, published_noise, published_pgd, unchanged
from palpate.attacks.selection import Selectable
from palpate.types import Attack, Loss

__all__ = [
    "ATTACKS",
    "LOSSES",
    "Selectable",
    "ZeroGradientWarning",
    "default_step_size",
    "fgsm",
    "noise",
    "pgd",
    "probability_loss",
    "published_noise",
    "published_pgd",
    "unchanged",
]

ATTACKS: dict[str, Attack] = {
    "noise": noise,
    "fgsm": fgsm,
    "pgd": pgd,
    "published_pgd": published_pgd,
    "published_noise": published_noise,
    "unchanged": unchanged,
}

LOSSES: dict[str, Loss] = {
    "bce": bce,
    "dice": dice,
    "bce_dice": bce_dice,
    "margin": margin,
    "probability": probability_loss,
}
