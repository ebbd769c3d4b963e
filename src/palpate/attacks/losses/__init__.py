"""The losses that attacks on segmentation models maximise: one value per image.

Each loss reduces over the pixels of one image only; with a mean over the batch, one image would
affect the step of another. All losses take logits, not probabilities, and have finite values and
gradients for all logits that a model can produce. Attacks subtract the model's threshold first, so
that a pixel is foreground if its logit is above 0.

A user's loss is a function from logits ``(b, 1, h, w)`` and bool masks of the same shape to values
``(b,)``; larger values mean a larger distance from the masks. A loss that changes during the
attack, or that depends on whether the attack is targeted, must implement
:class:`palpate.types.ScheduledLoss`.
"""

from palpate.attacks.losses.annealed_dice import AnnealedDice, annealed_dice
from palpate.attacks.losses.basic import bce, bce_dice, dice, margin
from palpate.attacks.losses.jensen_shannon import jensen_shannon
from palpate.attacks.losses.lovasz import lovasz_hinge
from palpate.attacks.losses.masked_margin import MaskedMargin
from palpate.attacks.losses.medis import exponential_log, log_cosh_dice, medis_mix, structure
from palpate.attacks.losses.notebook import (
    notebook_bce_dice,
    notebook_exponential_log,
    notebook_log_cosh_dice,
    notebook_lovasz_hinge,
    notebook_mix,
    notebook_structure,
)
from palpate.attacks.losses.probability import probability_loss
from palpate.attacks.losses.tsallis import Tsallis, tsallis
from palpate.attacks.losses.weighted import CosPGD, MaskedBCE, SegPGD
from palpate.plugins import Registry
from palpate.types import Loss

__all__ = [
    "LOSSES",
    "MEDIS",
    "NOTEBOOK",
    "AnnealedDice",
    "CosPGD",
    "MaskedBCE",
    "MaskedMargin",
    "SegPGD",
    "Tsallis",
    "annealed_dice",
    "bce",
    "bce_dice",
    "dice",
    "exponential_log",
    "jensen_shannon",
    "log_cosh_dice",
    "lovasz_hinge",
    "margin",
    "medis_mix",
    "notebook_bce_dice",
    "notebook_exponential_log",
    "notebook_log_cosh_dice",
    "notebook_lovasz_hinge",
    "notebook_mix",
    "notebook_structure",
    "probability_loss",
    "structure",
    "tsallis",
]

# The six losses of MedIS, corrected and as published, in the same order.
MEDIS: dict[str, Loss] = {
    "structure": structure,
    "log_cosh_dice": log_cosh_dice,
    "bce_dice": bce_dice,
    "exponential_log": exponential_log,
    "lovasz_hinge": lovasz_hinge,
    "medis_mix": medis_mix,
}
NOTEBOOK: dict[str, Loss] = {
    "notebook_structure": notebook_structure,
    "notebook_log_cosh_dice": notebook_log_cosh_dice,
    "notebook_bce_dice": notebook_bce_dice,
    "notebook_exponential_log": notebook_exponential_log,
    "notebook_lovasz_hinge": notebook_lovasz_hinge,
    "notebook_mix": notebook_mix,
}

_LOSSES: dict[str, Loss] = {
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
    "annealed_dice": annealed_dice,
    **MEDIS,
    **NOTEBOOK,
}

# All losses by the name that recipes use.
LOSSES: Registry[Loss] = Registry("LOSSES", _LOSSES)
