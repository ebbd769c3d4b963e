"""The square input of a network: resize images to it, and logits back to the image."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from palpate.models.preprocessing import enlarged, resized
from palpate.types import Box, Images, Logits


@dataclass(frozen=True)
class Canvas:
    """How images are resized to a square.

    Attributes:
        side: Side of the square, in pixels.
        padded: Whether an image keeps its aspect ratio and is padded on the right or below with 0
            (after normalisation); otherwise it is stretched.
    """

    side: int
    padded: bool

    def content(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that an image of this size has on the square, in pixels."""
        if not self.padded:
            return self.side, self.side
        scale = self.side / max(height, width)
        return int(height * scale + 0.5), int(width * scale + 0.5)

    def put(self, images: Images, mean: Tensor, std: Tensor) -> Float[Tensor, "b c side side"]:
        """The input of the network: images resized, normalised and padded."""
        height, width = self.content(images.shape[2], images.shape[3])
        pixels = (resized(images, (height, width)) - mean) / std
        return F.pad(pixels, (0, self.side - width, 0, self.side - height))

    def take(self, logits: Float[Tensor, "b 1 rows columns"], size: tuple[int, int]) -> Logits:
        """Logits of the whole square, at any resolution, cropped and resized to the image."""
        if self.padded:
            height, width = self.content(*size)
            logits = enlarged(logits, (self.side, self.side))[:, :, :height, :width]
        return enlarged(logits, size)

    def corners(self, boxes: list[Box], size: tuple[int, int]) -> Float[Tensor, "b 4"]:
        """Boxes of images of a size in pixels of the square: left, top, right and bottom edge.

        Edges are counted from the outer edge of the first pixel, 0, to that of the last.
        """
        height, width = self.content(*size)
        return torch.tensor(boxes) * torch.tensor([width, height, width, height])
