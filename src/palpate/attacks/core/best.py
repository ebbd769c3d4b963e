"""The worst an attack has done to each image so far."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from palpate.types import Images, Masks, PerImage


class Best:
    """Keeps, per image, the iterate of the highest rank; equal ranks go by the harm.

    Both numbers are one per image, so no image decides for another.
    """

    def __init__(self, images: Images) -> None:
        self.adversarial = images.clone()
        self._rank = torch.full((len(images),), -torch.inf).to(images)
        self._harm = self._rank.clone()

    def consider(
        self, rows: Int[Tensor, " k"], candidates: Images, rank: PerImage, harm: PerImage
    ) -> None:
        """Replace what ``candidates``, standing in ``rows`` of the batch, surpass."""
        harm = harm.detach()
        ahead, level = rank > self._rank[rows], rank == self._rank[rows]
        better = ahead | (level & (harm > self._harm[rows]))
        chosen = rows[better.cpu()]
        self.adversarial[chosen] = candidates[better]
        self._rank[chosen], self._harm[chosen] = rank[better], harm[better]


def is_worst(scores: PerImage, masks: Masks, *, targeted: bool) -> Bool[Tensor, " b"]:
    """Which images nothing worse can happen to.

    On an empty mask one stray pixel already gives DSC 0; that is not the worst there is, so
    such images are never done.
    """
    return scores == 1 if targeted else (scores == 0) & masks.flatten(1).any(1)


def rank(scores: PerImage, keep: str, targeted: bool) -> PerImage:
    """What :class:`Best` goes by: the Dice score where ``keep`` says so, else nothing."""
    if keep != "dice":
        return torch.zeros_like(scores)  # all equal, so that the loss decides
    return scores if targeted else -scores
