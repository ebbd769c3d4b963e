"""The losses of MedIS as its published notebooks compute them, slips included.

For reproducing the study, not for attacking well. All take the map the notebooks work on:
probabilities stretched, per image, to run from 0 to 1. Several then treat those probabilities as
logits. PraNet has four such maps; the losses go by their mean, but the structure loss is summed
over them. A model with one logit per pixel has one. Where a notebook's value is infinite it is held
at a large number here, and its gradient is zero.

With one map, the pixel that is stretched to exactly 0 or 1 may be on the wrong side. The slope of
the cross-entropy is 1e12 there, and cancels in the stretching but for rounding: around that pixel
the signs of a notebook's step are those of rounding errors, other ones on other machines. Steps of
losses with a cross-entropy in them agree with a notebook's up to the pixels around it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from palpate.attacks.losses._pixels import mean
from palpate.attacks.losses.lovasz import hinge
from palpate.attacks.losses.medis import MIX
from palpate.structure_loss import edge_weights, weighted_iou_loss
from palpate.types import Logits, Maps, Masks, PerImage

_TINY = 1e-7


def notebook_structure(logits: Maps, masks: Masks) -> PerImage:
    """Structure loss of probabilities taken as logits, its cross-entropy not weighted.

    A legacy argument makes the notebook reduce the cross-entropy to its mean first, so that the
    weights cancel.
    """
    return _structure(_stretched(logits), masks)


def notebook_log_cosh_dice(logits: Maps, masks: Masks) -> PerImage:
    """Log-cosh Dice without smoothing: on an empty mask its gradient is exactly zero."""
    return _log_cosh_dice(_mean_map(_stretched(logits)), masks)


def notebook_bce_dice(logits: Maps, masks: Masks) -> PerImage:
    """Cross-entropy of the stretched probabilities plus one minus their Dice score."""
    return _bce_dice(_mean_map(_stretched(logits)), masks)


def notebook_exponential_log(logits: Maps, masks: Masks) -> PerImage:
    """Exponential-logarithmic loss of the losses instead of the scores.

    While the cross-entropy is below 1 its value falls as the prediction gets worse, so that an
    attack that ascends it walks towards the ground truth.
    """
    return _exponential_log(_mean_map(_stretched(logits)), masks)


def notebook_lovasz_hinge(logits: Maps, masks: Masks) -> PerImage:
    """Lovász hinge of probabilities taken as logits: no pixel is ever right by a whole logit.

    The map goes in without a batch axis, so that each row is taken for an image of its own.
    """
    return _lovasz_hinge(_mean_map(_stretched(logits)), masks)


def notebook_mix(logits: Maps, masks: Masks) -> PerImage:
    """The weighted sum of the other five.

    Near agreement the exponential-logarithmic part outweighs them and turns the sum round.
    """
    maps = _stretched(logits)
    found = _mean_map(maps)  # one for all, as in the notebooks: gradients are added up before it
    parts = {
        "structure": _structure(maps, masks),
        "log_cosh_dice": _log_cosh_dice(found, masks),
        "bce_dice": _bce_dice(found, masks),
        "exponential_log": _exponential_log(found, masks),
        "lovasz_hinge": _lovasz_hinge(found, masks),
    }
    return torch.stack([MIX[name] * part for name, part in parts.items()]).sum(0)


def _structure(maps: Maps, masks: Masks) -> PerImage:
    parts = [_structure_of(each[:, None], masks) for each in maps.unbind(1)]
    return torch.stack(parts).sum(0)


def _structure_of(stretched: Logits, masks: Masks) -> PerImage:
    truth, weights = masks.to(stretched), edge_weights(masks, stretched)
    entropy = mean(F.binary_cross_entropy_with_logits(stretched, truth, reduction="none"))
    return entropy + weighted_iou_loss(stretched.sigmoid(), truth, weights)


def _log_cosh_dice(found: Logits, masks: Masks) -> PerImage:
    return (1 - _score(found, masks)).cosh().log()


def _bce_dice(found: Logits, masks: Masks) -> PerImage:
    return _entropy(found, masks) + (1 - _score(found, masks))


def _exponential_log(found: Logits, masks: Masks) -> PerImage:
    overlap = (1 - _score(found, masks)).clamp_min(_TINY).log()
    entropy = _entropy(found, masks).clamp_min(_TINY).log()
    return 0.5 * overlap**2 + 0.5 * entropy**2


def _lovasz_hinge(found: Logits, masks: Masks) -> PerImage:
    right = found * (2 * masks.to(found) - 1)
    rows = hinge(right.flatten(0, 2)[:, None, None], masks.flatten(0, 2)[:, None, None])
    return rows.view(len(masks), -1).mean(1)


def _stretched(logits: Maps) -> Maps:
    """Probabilities, moved and scaled so that each map has one of 0 and one of 1."""
    found = logits.sigmoid()
    above = found - found.amin(dim=(2, 3), keepdim=True)
    span = found.amax(dim=(2, 3), keepdim=True) - found.amin(dim=(2, 3), keepdim=True)
    return above / (span + 1e-8)


def _mean_map(maps: Maps) -> Logits:
    return torch.stack(maps.unbind(1)).sum(0)[:, None] / maps.shape[1]


def _score(found: Tensor, masks: Masks) -> PerImage:
    truth = masks.to(found)
    total = (found + truth).flatten(1).sum(1)
    return 2 * (found * truth).flatten(1).sum(1) / total.clamp_min(_TINY)


def _entropy(found: Tensor, masks: Masks) -> PerImage:
    return mean(F.binary_cross_entropy(found, masks.to(found), reduction="none"))
