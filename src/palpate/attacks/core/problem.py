"""The images under attack with their model, masks and loss, reduced as images finish."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from palpate.attacks.core.mode import warn_of_training_mode
from palpate.attacks.core.selection import restrict
from palpate.types import Images, LogitsFn, Loss, Masks


@dataclass(frozen=True)
class Problem:
    """The images still under attack, with their model, masks, loss and positions.

    Attributes:
        model: Maps ``images`` to logits, prompts bound.
        images: Clean images.
        masks: Ground truth; with ``targeted``, the masks that the attacker wants to see.
        loss: Loss that the attack maximises (targeted: minimises); one value per image.
        targeted: Whether the attack is targeted.
        rows: Positions of the images in the caller's batch, on the CPU.
        threshold: Logits above it are foreground. It is subtracted before the loss is computed.
    """

    model: LogitsFn
    images: Images
    masks: Masks
    loss: Loss
    targeted: bool
    rows: Int[Tensor, " b"]
    threshold: float = 0.0

    @classmethod
    def of_batch(
        cls,
        model: LogitsFn,
        images: Images,
        masks: Masks,
        loss: Loss,
        *,
        targeted: bool = False,
        threshold: float = 0.0,
        rows: Int[Tensor, " b"] | None = None,
    ) -> "Problem":
        """The problem at the start of an attack, which every attack makes by this function.

        ``rows`` are by default those of all images of the batch, in order.

        Warns:
            TrainingModeWarning: If the model is in training mode.
        """
        warn_of_training_mode(model)
        rows = torch.arange(len(images)) if rows is None else rows
        return cls(model, images, masks, loss, targeted, rows, threshold)

    def select(self, wanted: Bool[Tensor, " b"]) -> "Problem":
        """The problem for the ``wanted`` images only."""
        if wanted.all():
            return self
        places = wanted.nonzero().flatten()
        # With no image left, the model stays as it is: it cannot be bound to an empty batch and
        # is not called any more.
        some = len(places) > 0
        return replace(
            self,
            model=restrict(self.model, places.tolist(), len(self.images)) if some else self.model,
            images=self.images[places],
            masks=self.masks[places],
            rows=self.rows[places.cpu()],
        )
