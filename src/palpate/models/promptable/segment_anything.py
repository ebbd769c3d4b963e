"""Segment Anything and its successors, prompted with a box."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from palpate.models.promptable.model import Promptable
from palpate.models.promptable.placing import one_box_each
from palpate.types import Box, Images, Logits


class SegmentAnything(Promptable):
    """SAM, HQ-SAM or SAM 2 (Kirillov et al., 2023; Ke et al., 2023; Ravi et al., 2024).

    Prompts are ignored. The box is that of the *true* mask, taken before any attack: an upper bound
    of what a user with a mouse could draw, and an attack cannot move it. Do not compare results
    with those of models that have to find the target themselves.

    One mask per box is predicted. SAM 2 in evaluation mode returns another of its four masks where
    that one is unstable; the gradient is that of the selected mask, and the selection has none.
    """

    text_conditioned = False
    wants_boxes = True

    def forward(
        self,
        images: Images,
        prompts: Sequence[str] | None = None,
        boxes: Sequence[Sequence[float]] | None = None,
    ) -> Logits:
        """Segment what is in the box of each image.

        Args:
            images: RGB in [0, 1], of any size.
            prompts: Ignored.
            boxes: Left, top, right and bottom edge as shares of the image, one box per image.

        Returns:
            Logits ``(b, 1, h, w)`` at the size of the images, in float32.

        Raises:
            ValueError: If there is not one valid box per image.
            RuntimeError: If a gradient is wanted and the network gives none.
        """
        given = one_box_each(boxes, prompts, len(images), self.name)
        return self.on_canvas(images, partial(self.answer, boxes=given, size=images.shape[2:]))

    def answer(
        self, pixels: Images, *, boxes: Sequence[Box], size: Sequence[int]
    ) -> Float[Tensor, "b 1 rows columns"]:
        """The mask of the box in each image, after margin and jitter.

        Args:
            pixels: The canvas.
            boxes: One per image, as shares of the image.
            size: Height and width of the images on the canvas, before they were resized.
        """
        placed = [self.placing.place(box) for box in boxes]
        corners = self.canvas.corners(placed, (size[0], size[1]))
        return masks_in(self.net, pixels, corners.to(pixels))


def masks_in(
    net: nn.Module, pixels: Images, corners: Float[Tensor, "b 4"]
) -> Float[Tensor, "b 1 rows columns"]:
    """The mask of one box per image, as logits at the resolution of the mask decoder.

    Args:
        net: A SAM of Hugging Face.
        pixels: Its input, normalised.
        corners: Left, top, right and bottom edge of each box in pixels of the input.
    """
    found: Any = net(pixel_values=pixels, input_boxes=corners[:, None], multimask_output=False)
    masks: Tensor = found.pred_masks[:, 0]
    return masks
