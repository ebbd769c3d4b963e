"""The margin of the pixels that are still correct."""

from dataclasses import dataclass

from palpate.attacks.losses._pixels import margins, mean
from palpate.types import Logits, Loss, Masks, PerImage


@dataclass(frozen=True)
class MaskedMargin:
    """Margin of the pixels that are still correct, in units of the image's own logits.

    Replaces the masked spherical loss of SEA (Croce et al., 2024,
    https://arxiv.org/abs/2306.12941), the logit of the true class after projection on the unit
    sphere. With one logit per pixel that sphere consists of two points, and the loss has no
    gradient. Here the margin is divided by the root mean square of the image's logits, without a
    gradient through it. So the loss does not depend on the scale of the logits nor, like
    :func:`~palpate.attacks.losses.margin`, on saturation.

    Attributes:
        confidence: Margin on the wrong side beyond which a pixel is no longer pushed, in root mean
            squares of the logits; 0 is the decision boundary.
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
            left = right < self.confidence if targeted else right > -self.confidence
            return mean(-right * left)

        return loss


def _scaled_margins(logits: Logits, masks: Masks) -> Logits:
    scale = mean(logits.detach() ** 2).sqrt().clamp_min(1e-12)
    return margins(logits, masks) / scale.view(-1, 1, 1, 1)
