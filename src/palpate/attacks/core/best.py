"""The most harmful iterate of each image so far."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from palpate.types import Images, Masks, PerImage


class Best:
    """Keeps, for each image, the iterate of the highest rank, and of equal ranks the most harmful.

    Rank and harm have one value per image, so no image affects what is kept for another.
    """

    def __init__(self, images: Images) -> None:
        self.adversarial = images.clone()
        self._rank = torch.full((len(images),), -torch.inf).to(images)
        self._harm = self._rank.clone()

    def update(
        self, rows: Int[Tensor, " k"], candidates: Images, rank: PerImage, harm: PerImage
    ) -> None:
        """Keep the candidates that are better than what is stored.

        Args:
            rows: Position of each candidate's image in the batch, on the CPU.
            candidates: One iterate for each of ``rows``.
            rank: Primary criterion, higher is better, see :func:`rank`.
            harm: Secondary criterion, used where ranks are equal; higher is better.
        """
        harm = harm.detach()
        # Strict comparisons: of equally good iterates the first is kept.
        higher, equal = rank > self._rank[rows], rank == self._rank[rows]
        better = higher | (equal & (harm > self._harm[rows]))
        chosen = rows[better.cpu()]
        self.adversarial[chosen] = candidates[better]
        self._rank[chosen], self._harm[chosen] = rank[better], harm[better]


def is_worst(scores: PerImage, masks: Masks, *, targeted: bool) -> Bool[Tensor, " b"]:
    """Which images have the worst possible Dice score, so that an attack may stop.

    Images with an empty mask never count as finished: there a single wrong pixel already gives a
    Dice score of 0, and more wrong pixels are more harm.
    """
    return scores == 1 if targeted else (scores == 0) & masks.flatten(1).any(1)


def rank(scores: PerImage, keep: str, targeted: bool) -> PerImage:
    """The rank for :class:`Best`: higher is more harmful.

    Args:
        scores: Dice score of each image.
        keep: ``"dice"`` ranks by Dice score; anything else ranks all iterates equal, so that the
            harm alone decides.
        targeted: Whether a high Dice score is what the attacker wants.
    """
    if keep != "dice":
        return torch.zeros_like(scores)
    return scores if targeted else -scores
