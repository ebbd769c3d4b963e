"""SAM and its successors, prompted with a box."""

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

    Text prompts are ignored. The box is the bounding box of the *true* mask, so it is at least as
    good as one drawn by a user, and an attack cannot move it. Do not compare the results with those
    of models that must find the target themselves.

    One mask per box is predicted. If this mask is unstable, SAM 2 in evaluation mode returns
    another of its four masks instead. The gradient is that of the returned mask; the selection is
    not differentiable.
    """

    text_conditioned = False
    wants_boxes = True

    def forward(
        self,
        images: Images,
        prompts: Sequence[str] | None = None,
        boxes: Sequence[Sequence[float]] | None = None,
    ) -> Logits:
        """Segment the object in the box of each image.

        Args:
            images: RGB images ``(b, 3, h, w)`` in [0, 1], of any size.
            prompts: Ignored, except that the deprecated ``palpate.data.Prompt`` may contain boxes.
            boxes: Left, top, right and bottom edge as fractions of the image's size, one box per
                image.

        Returns:
            Logits ``(b, 1, h, w)`` at the size of the images, in float32.

        Raises:
            ValueError: If there is not one valid box per image.
            RuntimeError: If a gradient is needed and the network's output has none.
        """
        given = one_box_each(boxes, prompts, len(images), self.name)
        return self.on_canvas(images, partial(self.answer, boxes=given, size=images.shape[2:]))

    def answer(
        self, pixels: Images, *, boxes: Sequence[Box], size: Sequence[int]
    ) -> Float[Tensor, "b 1 rows columns"]:
        """The mask for each image's box, after margin and jitter, as logits.

        Args:
            pixels: Square, normalised input of the network.
            boxes: One box per image, as fractions of the image's size.
            size: Height and width of the original images, in pixels.
        """
        placed = [self.placing.place(box) for box in boxes]
        corners = self.canvas.corners(placed, (size[0], size[1]))
        return masks_in(self.net, pixels, corners.to(pixels))


def masks_in(
    net: nn.Module, pixels: Images, corners: Float[Tensor, "b 4"]
) -> Float[Tensor, "b 1 rows columns"]:
    """Predict a mask for one box per image, as logits at the resolution of the mask decoder.

    Args:
        net: A SAM from transformers.
        pixels: Square, normalised input of the network.
        corners: Left, top, right and bottom edge of each box, in pixels of the input.
    """
    found: Any = net(pixel_values=pixels, input_boxes=corners[:, None], multimask_output=False)
    masks: Tensor = found.pred_masks[:, 0]
    return masks
