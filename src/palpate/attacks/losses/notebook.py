"""The losses of MedIS as its published notebooks compute them, slips included.

For reproducing the study, not for attacking well. All take the map the notebooks work on:
probabilities stretched, per image, to run from 0 to 1. Several then treat those probabilities as
logits. PraNet has four such maps; the losses go by their mean, but the structure loss is summed
over them. A model with one logit per pixel has one. Where a notebook's value is infinite it is held
at a large number here, and its gradient is zero.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from palpate.attacks.losses._pixels import mean
from palpate.attacks.losses.lovasz import hinge
from palpate.attacks.losses.medis import MIX
from palpate.structure import edge_weights, weighted_iou_loss
from palpate.types import Logits, Maps, Masks, PerImage

_TINY = 1e-7


def notebook_structure(logits: Maps, masks: Masks) -> PerImage:
    """Structure loss of probabilities taken as logits, its cross-entropy not weighted.

    A legacy argument makes the notebook reduce the cross-entropy to its mean first, so that the
    weights cancel.
    """
    parts = [_structure_of(_stretched(each[:, None]), masks) for each in logits.unbind(1)]
    return torch.stack(parts).sum(0)


def notebook_log_cosh_dice(logits: Maps, masks: Masks) -> PerImage:
    """Log-cosh Dice without smoothing: on an empty mask its gradient is exactly zero."""
    return (1 - _score(_stretched(logits), masks)).cosh().log()


def notebook_bce_dice(logits: Maps, masks: Masks) -> PerImage:
    """Cross-entropy of the stretched probabilities plus one minus their Dice score."""
    stretched = _stretched(logits)
    return _entropy(stretched, masks) + 1 - _score(stretched, masks)


def notebook_exponential_log(logits: Maps, masks: Masks) -> PerImage:
    """Exponential-logarithmic loss of the losses instead of the scores.

    While the cross-entropy is below 1 its value falls as the prediction gets worse, so that an
    attack that ascends it walks towards the ground truth.
    """
    stretched = _stretched(logits)
    overlap = (1 - _score(stretched, masks)).clamp_min(_TINY).log()
    entropy = _entropy(stretched, masks).clamp_min(_TINY).log()
    return 0.5 * overlap**2 + 0.5 * entropy**2


def notebook_lovasz_hinge(logits: Maps, masks: Masks) -> PerImage:
    """Lovász hinge of probabilities taken as logits: no pixel is ever right by a whole logit.

    The map goes in without a batch axis, so that each row is taken for an image of its own.
    """
    right = _stretched(logits) * (2 * masks.to(logits) - 1)
    rows = hinge(right.flatten(0, 2)[:, None, None], masks.flatten(0, 2)[:, None, None])
    return rows.view(len(masks), -1).mean(1)


def notebook_mix(logits: Maps, masks: Masks) -> PerImage:
    """The weighted sum of the other five.

    Near agreement the exponential-logarithmic part outweighs them and turns the sum round.
    """
    losses = (
        notebook_structure,
        notebook_log_cosh_dice,
        notebook_bce_dice,
        notebook_exponential_log,
        notebook_lovasz_hinge,
    )
    parts = [MIX[f.__name__.removeprefix("notebook_")] * f(logits, masks) for f in losses]
    return torch.stack(parts).sum(0)


def _structure_of(stretched: Logits, masks: Masks) -> PerImage:
    truth, weights = masks.to(stretched), edge_weights(masks, stretched)
    entropy = mean(F.binary_cross_entropy_with_logits(stretched, truth, reduction="none"))
    return entropy + weighted_iou_loss(stretched.sigmoid(), truth, weights)


def _stretched(logits: Maps) -> Logits:
    """Probabilities, moved and scaled so that each map has one of 0 and one of 1; their mean."""
    found = logits.sigmoid()
    low, high = (end(found, dim=(2, 3), keepdim=True) for end in (torch.amin, torch.amax))
    return ((found - low) / (high - low + 1e-8)).mean(1, keepdim=True)


def _score(found: Tensor, masks: Masks) -> PerImage:
    truth = masks.to(found)
    total = (found + truth).flatten(1).sum(1)
    return 2 * (found * truth).flatten(1).sum(1) / total.clamp_min(_TINY)


def _entropy(found: Tensor, masks: Masks) -> PerImage:
    return mean(F.binary_cross_entropy(found, masks.to(found), reduction="none"))
