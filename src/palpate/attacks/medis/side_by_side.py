"""Several losses in one batch, each for images of its own."""

from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor

from palpate.attacks.core.per_image import as_one_per_image
from palpate.types import Loss, Maps, Masks, PerImage, ScheduledLoss


@dataclass(frozen=True)
class SideBySide:
    """One loss to look at a batch with, which gives each image the value of its own loss.

    Attributes:
        losses: What the images are looked at with.
        owners: Which of the losses each image belongs to; on the CPU.
    """

    losses: tuple[Loss, ...]
    owners: Int[Tensor, " b"]

    def __call__(self, logits: Maps, masks: Masks) -> PerImage:
        """The value of each image under its own loss."""
        values = logits.new_zeros(len(logits))
        for place, loss in enumerate(self.losses):
            rows = (self.owners == place).nonzero().flatten().to(logits.device)
            if len(rows):
                value = as_one_per_image(loss(logits[rows], masks[rows]), len(rows))
                values = values.index_put((rows,), value.to(values))
        return values

    def at(self, progress: float, *, targeted: bool = False) -> Loss:
        """The same with the losses that change while the attack goes on at one moment of it."""
        losses = tuple(_at(loss, progress, targeted) for loss in self.losses)
        changed = any(now is not loss for now, loss in zip(losses, self.losses, strict=True))
        return SideBySide(losses, self.owners) if changed else self

    def select(self, wanted: Bool[Tensor, " b"]) -> "SideBySide":
        """The same for some of the images."""
        return SideBySide(self.losses, self.owners[wanted.cpu()])


def name_of(loss: Loss) -> str:
    """What a loss is called in tables."""
    return getattr(loss, "__name__", type(loss).__name__)


def _at(loss: Loss, progress: float, targeted: bool) -> Loss:
    return loss.at(progress, targeted=targeted) if isinstance(loss, ScheduledLoss) else loss
