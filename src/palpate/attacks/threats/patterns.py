"""Constraints on the pattern of a perturbation: low-frequency or periodic."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from palpate.attacks.threats.constraint import Kind
from palpate.types import Images, Masks


@dataclass(frozen=True)
class LowFrequency:
    """Only the lowest frequencies of the cosine transform may change.

    After Guo et al., 2018, https://arxiv.org/abs/1809.08758. Of the DCT-II of the whole image, each
    channel keeps the lowest ``sqrt(share)`` of the frequencies along each side, including the
    constant.

    Attributes:
        share: Fraction of the coefficients that are kept, above 0 and at most 1.
    """

    share: float
    kind: ClassVar[Kind] = "pattern"
    keeps_clamped: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.share, bool) or not 0 < self.share <= 1:
            raise ValueError(
                f"Expected a share of low frequencies above 0 and at most 1, got {self.share!r}."
            )

    def project(self, delta: Images, masks: Masks) -> Images:
        del masks
        # The transform is separable: one matrix for columns, one for rows. Both are symmetric.
        down, across = (_low_pass(side, self._kept(side)).to(delta) for side in delta.shape[2:])
        return down @ delta @ across

    def _kept(self, side: int) -> int:
        return max(1, round(math.sqrt(self.share) * side))


@dataclass(frozen=True)
class Periodic:
    """The perturbation is one square tile, repeated from the upper left corner.

    The parametrisation of Metzen et al. (2017, https://arxiv.org/abs/1704.05712) for universal
    perturbations. The projection replaces every copy of the tile by the mean over the copies.

    Attributes:
        size: Side of the tile, in pixels, at least 1.
    """

    size: int
    kind: ClassVar[Kind] = "pattern"
    keeps_clamped: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f"Expected a tile of 1 pixel or more, got {self.size!r}.")

    def project(self, delta: Images, masks: Masks) -> Images:
        del masks
        down, across = (_mean_of_copies(side, self.size).to(delta) for side in delta.shape[2:])
        tile = down @ delta @ across.T
        # Indexing modulo the size repeats the tile over the image.
        rows, columns = (torch.arange(side, device=delta.device) for side in delta.shape[2:])
        return tile[..., rows % self.size, :][..., columns % self.size]


@lru_cache(maxsize=16)
def _low_pass(side: int, kept: int) -> Float[Tensor, "side side"]:
    """Matrix that projects ``side`` values on their ``kept`` lowest cosines."""
    places = (torch.arange(side, dtype=torch.float64) + 0.5) * math.pi / side
    cosines = torch.cos(torch.arange(kept, dtype=torch.float64)[:, None] * places)
    cosines /= cosines.norm(dim=1, keepdim=True)
    return cosines.T @ cosines


@lru_cache(maxsize=16)
def _mean_of_copies(side: int, size: int) -> Float[Tensor, "tile side"]:
    """Matrix that averages the values whose positions differ by a multiple of ``size``."""
    alike = torch.arange(min(size, side))[:, None] == torch.arange(side) % size
    return alike.double() / alike.sum(1, keepdim=True)
