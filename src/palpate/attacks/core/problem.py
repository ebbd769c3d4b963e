"""What is attacked, and what remains of it while images finish."""

from dataclasses import dataclass, replace

from jaxtyping import Bool, Int
from torch import Tensor

from palpate.attacks.core.selection import restrict
from palpate.types import Images, LogitsFn, Loss, Masks


@dataclass(frozen=True)
class Problem:
    """The images still under attack, and everything that goes with each of them."""

    model: LogitsFn
    images: Images
    masks: Masks
    loss: Loss
    targeted: bool  # then harm is the negative loss
    rows: Int[Tensor, " b"]  # places in the batch the caller gave; on the CPU
    threshold: float = 0.0  # logits above it are foreground; losses count from it

    def select(self, wanted: Bool[Tensor, " b"]) -> "Problem":
        """What is left when only ``wanted`` images go on."""
        if wanted.all():
            return self
        places = wanted.nonzero().flatten()
        some = len(places) > 0
        return replace(
            self,
            model=restrict(self.model, places.tolist(), len(self.images)) if some else self.model,
            images=self.images[places],
            masks=self.masks[places],
            rows=self.rows[places.cpu()],
        )
