"""Constraints on the colour channels of a pixel."""

from dataclasses import dataclass
from typing import ClassVar

from palpate.attacks.threats.constraint import Kind
from palpate.types import Images, Masks


@dataclass(frozen=True)
class Tied:
    """All channels of a pixel change by the same value.

    Models a scanner that records a single channel: a grey image stays grey.
    """

    kind: ClassVar[Kind] = "channels"
    keeps_clamped: ClassVar[bool] = True

    def project(self, delta: Images, masks: Masks) -> Images:
        del masks
        return delta.mean(1, keepdim=True).expand_as(delta)


def shared_range(delta: Images, images: Images) -> Images:
    """Clamp perturbations that are equal in all channels, so that no channel leaves [0, 1].

    The bounds of a pixel are those of its most restrictive channel, so channels stay equal.
    """
    lowest, highest = -images.amin(1, keepdim=True), (1 - images).amin(1, keepdim=True)
    return delta.clamp(lowest, highest)
