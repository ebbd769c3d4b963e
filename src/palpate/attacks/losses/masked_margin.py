"""The margin of the pixels that are still correct."""

from dataclasses import dataclass

from palpate.attacks.losses._pixels import margins, mean
from palpate.types import Logits, Loss, Masks, PerImage


@dataclass(frozen=True)
class MaskedMargin:
    """Margin of the pixels that are still correct, normalised by the scale of the image's logits.

    Replaces the masked spherical loss of SEA (Croce et al., 2024,
    https://arxiv.org/abs/2306.12941), which is the logit of the true class after projection on the
    unit sphere. With one logit per pixel this sphere consists of two points, so that loss would
    have no gradient. Here the margin is divided by the root mean square of the image's logits,
    without a gradient through the divisor. The loss therefore does not depend on the scale of the
    logits and, like :func:`~palpate.attacks.losses.margin`, is not affected by saturation.

    Attributes:
        confidence: A pixel no longer contributes once it is wrong by more than this margin, in
            units of the root mean square of the logits; 0 is the decision boundary.
    """

    confidence: float = 0.0

    def __post_init__(self) -> None:
        if not self.confidence >= 0:
            raise ValueError(f"Expected confidence >= 0, got {self.confidence}.")

    def __call__(self, logits: Logits, masks: Masks) -> PerImage:
        """The margin of all pixels, in [-1, 1], by which points are compared."""
        return mean(-_scaled_margins(logits, masks))

    def at(self, progress: float, *, targeted: bool = False) -> Loss:
        """The loss to ascend, which does not depend on ``progress``."""
        del progress

        def loss(logits: Logits, masks: Masks) -> PerImage:
            right = _scaled_margins(logits, masks)
            # The pixels that remain: those without the class that the attacker wants.
            left = right < self.confidence if targeted else right > -self.confidence
            return mean(-right * left)

        return loss


def _scaled_margins(logits: Logits, masks: Masks) -> Logits:
    """Margins divided by the root mean square of the image's logits."""
    scale = mean(logits.detach() ** 2).sqrt().clamp_min(1e-12)
    return margins(logits, masks) / scale.view(-1, 1, 1, 1)
