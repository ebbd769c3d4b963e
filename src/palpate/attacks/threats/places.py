"""Constraints on which pixels may change."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from palpate.attacks.threats.constraint import Kind
from palpate.types import Images, Masks


@dataclass(frozen=True)
class Inside:
    """Only pixels inside the mask may change.

    A targeted attack receives the target masks, so it may change the pixels of the target.
    """

    kind: ClassVar[Kind] = "place"
    keeps_clamped: ClassVar[bool] = True

    def project(self, delta: Images, masks: Masks) -> Images:
        return torch.where(masks, delta, 0.0)


@dataclass(frozen=True)
class Outside:
    """Only pixels outside the mask may change; the complement of :class:`Inside`."""

    kind: ClassVar[Kind] = "place"
    keeps_clamped: ClassVar[bool] = True

    def project(self, delta: Images, masks: Masks) -> Images:
        return torch.where(masks, 0.0, delta)


@dataclass(frozen=True)
class Border:
    """Only a strip along the four sides of the image may change.

    Attributes:
        width: Width of the strip in pixels, at least 1. An image narrower than two strips may
            change everywhere.
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
        # The slice is empty in an image narrower than two strips.
        strip[..., self.width : -self.width, self.width : -self.width] = 0.0
        return strip
