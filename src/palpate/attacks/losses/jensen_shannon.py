"""The Jensen-Shannon divergence between prediction and ground truth."""

import math

import torch
from torch.nn import functional as F

from palpate.attacks.losses._pixels import margins, mean
from palpate.types import Logits, Masks, PerImage


def jensen_shannon(logits: Logits, masks: Masks) -> PerImage:
    r"""Jensen-Shannon divergence from the ground truth, mean over the pixels, in [0, log 2].

    One of the losses of SEA (Croce et al., 2024, https://arxiv.org/abs/2306.12941). With
    :math:`q` the probability of the true class, it is

    .. math:: \tfrac12 \left[ -\log\tfrac{1+q}{2} + q \log\tfrac{2q}{1+q}
              + (1-q) \log 2 \right].

    It is bounded, so pixels that are already wrong hardly affect the attack: their gradient
    :math:`\tfrac12 q (1-q) \log\frac{q}{1+q}` vanishes as :math:`q` goes to 0.

    Args:
        logits: Logits of shape ``(b, 1, h, w)``; above 0 means foreground.
        masks: Bool masks of the same shape.

    Returns:
        Values of shape ``(b,)``.
    """
    right = margins(logits, masks)
    q, log_q = (
        right.sigmoid(),
        F.logsigmoid(right),
    )  # not q.log(): then q log q would have a NaN gradient at 0
    log_sum = torch.log1p(q)
    log_2 = math.log(2)
    return mean(0.5 * (log_2 - log_sum + q * (log_2 + log_q - log_sum) + (1 - q) * log_2))
