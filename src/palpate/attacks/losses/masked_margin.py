"""The margin of the pixels that are still to be turned."""

from dataclasses import dataclass

from palpate.attacks.losses._pixels import margins, mean
from palpate.types import Logits, Loss, Masks, PerImage


@dataclass(frozen=True)
class MaskedMargin:
    """Margin of the pixels that are not turned yet, in units of the image's own logits.

    Stands in for the masked spherical loss of SEA (Croce et al., 2024,
    https://arxiv.org/abs/2306.12941), the logit of the true class on the unit sphere. With one
    logit per pixel that sphere has two points, and the loss no gradient at all. Here the margin
    is divided by the root mean square of the image's logits, as a number, so that it is free of
    scale and, like :func:`~palpate.attacks.losses.margin`, blind to saturation.

    Attributes:
        confidence: How far on its new side a pixel must be to be left alone, in root mean
            squares of the logits; 0 is exactly at the boundary.
    """

    confidence: float = 0.0

    def __post_init__(self) -> None:
        if not self.confidence >= 0:
            raise ValueError(f"Expected confidence >= 0, got {self.confidence}.")

    def __call__(self, logits: Logits, masks: Masks) -> PerImage:
        """The margin of all pixels, to compare points by, in [-1, 1]."""
        return mean(-_scaled_margins(logits, masks))

    def at(self, progress: float, *, targeted: bool = False) -> Loss:
        """The same all the way."""
        del progress

        def loss(logits: Logits, masks: Masks) -> PerImage:
            right = _scaled_margins(logits, masks)
            left = right < self.confidence if targeted else right > -self.confidence
            return mean(-right * left)

        return loss


def _scaled_margins(logits: Logits, masks: Masks) -> Logits:
    scale = mean(logits.detach() ** 2).sqrt().clamp_min(1e-12)  # all zero: no direction anyway
    return margins(logits, masks) / scale.view(-1, 1, 1, 1)
