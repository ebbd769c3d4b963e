"""Segment Anything and its successors, asked with the box of what is to be found."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from palpate.models.promptable.model import Promptable
from palpate.types import Images


class SegmentAnything(Promptable):
    """SAM, HQ-SAM or SAM 2 (Kirillov et al., 2023; Ke et al., 2023; Ravi et al., 2024).

    The text of a prompt is ignored. Its box is that of the *true* mask, taken before anything is
    attacked: an upper bound of what somebody with a mouse can do, and one that an attack cannot
    move. Results are no match for those of models that have to find their target by themselves.

    One mask is asked for. SAM 2 in evaluation mode answers with another of its four where that one
    is unstable; the gradient is that of the mask it chose, and the choice has none.
    """

    text_conditioned = False
    wants_boxes = True

    def answer(
        self, pixels: Images, prompts: Sequence[str] | None, size: tuple[int, int]
    ) -> Float[Tensor, "b 1 rows columns"]:
        """The mask of the box in each image."""
        boxes = self.placing.boxes(prompts, len(pixels), self.name)
        return self.masks_of(pixels, self.canvas.corners(boxes, size).to(pixels))

    def masks_of(self, pixels: Images, corners: Tensor) -> Float[Tensor, "b 1 rows columns"]:
        """The mask of one box per canvas.

        Args:
            pixels: The canvas.
            corners: Left, top, right and bottom edge in its pixels, ``(b, 4)``.
        """
        found = self.segment(
            pixel_values=pixels, input_boxes=corners[:, None], multimask_output=False
        )
        masks: Tensor = found.pred_masks[:, 0]
        return masks

    def segment(self, **inputs: Any) -> Any:
        """What the network returns."""
        return self.net(**inputs)
