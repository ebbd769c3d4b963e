"""The losses of MedIS as computed in its published notebooks, including their errors.

They are for reproducing the study, not for strong attacks. All of them use the maps of the
notebooks: probabilities, rescaled per image to the range from 0 to 1. Several losses then treat
these probabilities as logits. PraNet has four such maps; the losses use their mean, except the
structure loss, which is summed over them. A model with one logit per pixel has one map. Where the
value in a notebook is infinite, it is a large number here, with a gradient of zero.

With one map, a pixel that is rescaled to exactly 0 or 1 may be on the wrong side. The derivative of
the cross-entropy is 1e12 there and cancels in the rescaling except for rounding errors. In the
notebooks, the signs of a step near this pixel are therefore determined by rounding errors, which
differ between machines. For losses that contain a cross-entropy, steps agree with those of the
notebooks except at pixels near it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from palpate.attacks.losses._pixels import mean
from palpate.attacks.losses.lovasz import hinge
from palpate.attacks.losses.medis import MIX
from palpate.structure_loss import edge_weights, weighted_iou_loss
from palpate.types import Logits, Maps, Masks, PerImage

_TINY = 1e-7  # replaces 0 in logarithms and denominators, where the notebooks get infinities


def notebook_structure(logits: Maps, masks: Masks) -> PerImage:
    """Structure loss of probabilities used as logits, with an unweighted cross-entropy.

    A legacy argument of PyTorch makes the notebook reduce the cross-entropy to its mean first, so
    that the weights cancel.
    """
    return _structure(_rescaled(logits), masks)


def notebook_log_cosh_dice(logits: Maps, masks: Masks) -> PerImage:
    """Log-cosh Dice without smoothing: on an empty mask its gradient is exactly zero."""
    return _log_cosh_dice(_mean_map(_rescaled(logits)), masks)


def notebook_bce_dice(logits: Maps, masks: Masks) -> PerImage:
    """Cross-entropy of the rescaled probabilities plus one minus their Dice score."""
    return _bce_dice(_mean_map(_rescaled(logits)), masks)


def notebook_exponential_log(logits: Maps, masks: Masks) -> PerImage:
    """Exponential-logarithmic loss, computed from losses where the paper uses scores.

    While the cross-entropy is below 1, the value decreases as the prediction gets worse, so an
    attack that ascends it moves the prediction towards the ground truth.
    """
    return _exponential_log(_mean_map(_rescaled(logits)), masks)


def notebook_lovasz_hinge(logits: Maps, masks: Masks) -> PerImage:
    """Lovász hinge of probabilities used as logits, so that no margin exceeds 1.

    The notebook passes the map without a batch axis, so each row of pixels counts as an image.
    """
    return _lovasz_hinge(_mean_map(_rescaled(logits)), masks)


def notebook_mix(logits: Maps, masks: Masks) -> PerImage:
    """Weighted sum of the other five losses.

    For nearly correct predictions the exponential-logarithmic part dominates, so that the sum
    decreases as the prediction gets worse.
    """
    maps = _rescaled(logits)
    found = _mean_map(maps)  # once, so that gradients are added in the order of the notebooks
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


def _structure_of(rescaled: Logits, masks: Masks) -> PerImage:
    truth, weights = masks.to(rescaled), edge_weights(masks, rescaled)
    entropy = mean(F.binary_cross_entropy_with_logits(rescaled, truth, reduction="none"))
    return entropy + weighted_iou_loss(rescaled.sigmoid(), truth, weights)


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


def _rescaled(logits: Maps) -> Maps:
    """Probabilities, shifted and scaled so that each map has a minimum of 0 and a maximum of 1."""
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
