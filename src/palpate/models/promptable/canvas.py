"""Map images to the square input of a network, and logits back to the size of the images."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from palpate.models.preprocessing import enlarged, resized
from palpate.types import Box, Images, Logits


@dataclass(frozen=True)
class Canvas:
    """The square input of a network, and how images are resized to it.

    Attributes:
        side: Side of the square, in pixels.
        padded: Whether images keep their aspect ratio and are padded on the right or at the bottom
            with zeros (after normalisation); if False, they are stretched.
    """

    side: int
    padded: bool

    def content(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in pixels to which an image of this size is resized, without padding."""
        if not self.padded:
            return self.side, self.side
        # Round half up, as Hugging Face's image processors do; round() rounds half to even.
        scale = self.side / max(height, width)
        return int(height * scale + 0.5), int(width * scale + 0.5)

    def put(self, images: Images, mean: Tensor, std: Tensor) -> Float[Tensor, "b c side side"]:
        """Resize, normalise and pad images for the network."""
        height, width = self.content(images.shape[2], images.shape[3])
        pixels = (resized(images, (height, width)) - mean) / std
        return F.pad(pixels, (0, self.side - width, 0, self.side - height))

    def take(self, logits: Float[Tensor, "b 1 rows columns"], size: tuple[int, int]) -> Logits:
        """Crop logits of the whole square, at any resolution, and resize them to the images.

        Args:
            logits: Logits of the square.
            size: Height and width of the images, in pixels.
        """
        if self.padded:
            height, width = self.content(*size)
            logits = enlarged(logits, (self.side, self.side))[:, :, :height, :width]
        return enlarged(logits, size)

    def corners(self, boxes: list[Box], size: tuple[int, int]) -> Float[Tensor, "b 4"]:
        """Convert boxes to pixel coordinates of the square: left, top, right and bottom edge.

        Coordinate 0 is the outer edge of the first pixel, not its centre.

        Args:
            boxes: Boxes as fractions of the image's width and height.
            size: Height and width of the images, in pixels.
        """
        height, width = self.content(*size)
        return torch.tensor(boxes) * torch.tensor([width, height, width, height])
