"""Adversarial attacks: plain functions from a model, images and masks to images."""

from palpate.attacks.black_box.hopskipjump import hopskipjump
from palpate.attacks.black_box.simba import simba
from palpate.attacks.black_box.spsa import spsa
from palpate.attacks.black_box.square import square
from palpate.attacks.bpda.bpda import bpda, eot
from palpate.attacks.core.gradient_step import ZeroGradientWarning
from palpate.attacks.core.selection import Selectable
from palpate.attacks.gradient.apgd import apgd
from palpate.attacks.gradient.ensemble import ensemble
from palpate.attacks.gradient.fgsm import fgsm
from palpate.attacks.gradient.noise import noise
from palpate.attacks.gradient.pgd import default_step_size, pgd
from palpate.attacks.gradient.pgd_variants import cospgd, segpgd
from palpate.attacks.gradient.sea import sea
from palpate.attacks.gradient.transfer import transfer
from palpate.attacks.losses import (
    LOSSES,
    AnnealedDice,
    CosPGD,
    MaskedBCE,
    MaskedMargin,
    SegPGD,
    Tsallis,
    annealed_dice,
    bce,
    bce_dice,
    dice,
    jensen_shannon,
    margin,
    probability_loss,
)
from palpate.attacks.medis.medis import MEDIS_LOSSES, medis
from palpate.attacks.minimal.alma_prox import alma_prox
from palpate.attacks.minimal.asma import asma
from palpate.attacks.minimal.bisection import bisection
from palpate.attacks.minimal.dag import dag
from palpate.attacks.minimal.ddn import ddn
from palpate.attacks.minimal.pdpgd import pdpgd
from palpate.attacks.minimal.shortest import UnbrokenWarning
from palpate.attacks.paper_protocol import (
    published_noise,
    published_pgd,
    unchanged,
)
from palpate.attacks.threats import threat_model
from palpate.attacks.universals import UniversalPerturbation, fit_universal, universal
from palpate.plugins import Registry
from palpate.types import Attack

__all__ = [
    "ATTACKS",
    "LOSSES",
    "MEDIS_LOSSES",
    "AnnealedDice",
    "CosPGD",
    "MaskedBCE",
    "MaskedMargin",
    "SegPGD",
    "Selectable",
    "Tsallis",
    "UnbrokenWarning",
    "UniversalPerturbation",
    "ZeroGradientWarning",
    "alma_prox",
    "annealed_dice",
    "apgd",
    "asma",
    "bce",
    "bce_dice",
    "bisection",
    "bpda",
    "cospgd",
    "dag",
    "ddn",
    "default_step_size",
    "dice",
    "ensemble",
    "eot",
    "fgsm",
    "fit_universal",
    "hopskipjump",
    "jensen_shannon",
    "margin",
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

_ATTACKS: dict[str, Attack] = {
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
    "ensemble": ensemble,
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

ATTACKS: Registry[Attack] = Registry("ATTACKS", _ATTACKS)
