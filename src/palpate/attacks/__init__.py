"""Adversarial attacks: plain functions from a model, images and masks to images."""

from palpate.attacks._ascent import ZeroGradientWarning
from palpate.attacks._shortest import UnbrokenWarning
from palpate.attacks.adaptive import bpda, eot
from palpate.attacks.alma_prox import alma_prox
from palpate.attacks.apgd import apgd
from palpate.attacks.asma import asma
from palpate.attacks.bisection import bisection
from palpate.attacks.cospgd import cospgd
from palpate.attacks.dag import dag
from palpate.attacks.ddn import ddn
from palpate.attacks.fgsm import fgsm
from palpate.attacks.hopskipjump import hopskipjump
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
from palpate.attacks.pdpgd import pdpgd
from palpate.attacks.pgd import default_step_size, pgd
from palpate.attacks.published import probability_loss, published_noise, published_pgd, unchanged
from palpate.attacks.sea import sea
from palpate.attacks.segpgd import segpgd
from palpate.attacks.selection import Selectable
from palpate.attacks.simba import simba
from palpate.attacks.spsa import spsa
from palpate.attacks.square import square
from palpate.attacks.threats import threat_model
from palpate.attacks.transfer import transfer
from palpate.attacks.universals import UniversalPerturbation, fit_universal, universal
from palpate.types import Attack, Loss

__all__ = [
    "ATTACKS",
    "LOSSES",
    "MEDIS_LOSSES",
    "Selectable",
    "UnbrokenWarning",
    "UniversalPerturbation",
    "ZeroGradientWarning",
    "alma_prox",
    "apgd",
    "asma",
    "bisection",
    "bpda",
    "cospgd",
    "dag",
    "ddn",
    "default_step_size",
    "eot",
    "fgsm",
    "fit_universal",
    "hopskipjump",
    "medis",
    "noise",
    "pdpgd",
    "pgd",
    "probability_loss",
    "published_noise",
    "published_pgd",
    "sea",
    "segpgd",
    "simba",
    "spsa",
    "square",
    "threat_model",
    "transfer",
    "unchanged",
    "universal",
]

ATTACKS: dict[str, Attack] = {
    "noise": noise,
    "fgsm": fgsm,
    "pgd": pgd,
    "published_pgd": published_pgd,
    "published_noise": published_noise,
    "unchanged": unchanged,
    "segpgd": segpgd,
    "cospgd": cospgd,
    "apgd": apgd,
    "sea": sea,
    "transfer": transfer,
    "universal": universal,
    # These take no epsilon: they look for the smallest one.
    "bisection": bisection,
    "ddn": ddn,
    "pdpgd": pdpgd,
    "alma_prox": alma_prox,
    "asma": asma,
    "dag": dag,
    "medis": medis,
    "square": square,
    "spsa": spsa,
    "simba": simba,
    "hopskipjump": hopskipjump,
}

LOSSES: dict[str, Loss] = {
    "bce": bce,
    "dice": dice,
    "bce_dice": bce_dice,
    "margin": margin,
    "probability_loss": probability_loss,
    "segpgd": SegPGD(),
    "cospgd": CosPGD(),
    "jensen_shannon": jensen_shannon,
    "masked_bce": MaskedBCE(),
    "masked_margin": MaskedMargin(),
    "tsallis": Tsallis(),
    **MEDIS,
    **NOTEBOOK,
}
