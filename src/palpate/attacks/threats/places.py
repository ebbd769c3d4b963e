"""Constraints on which pixels may change."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from palpate.attacks.threats.constraint import Kind
from palpate.types import Images, Masks


@dataclass(frozen=True)
class Inside:
    """Only pixels of the lesion may change: those of the masks that the attack was given.

    A targeted attack is given the masks it aims at, and changes those pixels only.
    """

    kind: ClassVar[Kind] = "place"
    keeps_clamped: ClassVar[bool] = True

    def project(self, delta: Images, masks: Masks) -> Images:
        return torch.where(masks, delta, 0.0)


@dataclass(frozen=True)
class Outside:
    """Only pixels outside the lesion may change; the other half of :class:`Inside`."""

    kind: ClassVar[Kind] = "place"
    keeps_clamped: ClassVar[bool] = True

    def project(self, delta: Images, masks: Masks) -> Images:
        return torch.where(masks, 0.0, delta)


@dataclass(frozen=True)
class Border:
    """Only a strip along the four sides may change.

    Attributes:
        width: Of the strip, in pixels; an image less than two strips wide may change everywhere.
    """

    width: int
    kind: ClassVar[Kind] = "place"
    keeps_clamped: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.width, bool) or not isinstance(self.width, int) or self.width < 1:
            raise ValueError(f"Expected a border of 1 pixel or more, got {self.width!r}.")

    def project(self, delta: Images, masks: Masks) -> Images:
        del masks
        strip = delta.clone()
        strip[..., self.width : -self.width, self.width : -self.width] = 0.0
        return strip
