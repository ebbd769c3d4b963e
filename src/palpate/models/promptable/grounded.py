"""Grounding DINO finds a box for the words, Segment Anything the mask in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from palpate.models.clip.config import BertConfig
from palpate.models.clip.tokenizer import Tokenizer
from palpate.models.preprocessing import Preprocessing, resized
from palpate.models.promptable.sam3 import one_each
from palpate.models.promptable.segment_anything import SegmentAnything
from palpate.types import Images, Logits


@dataclass(frozen=True)
class Grounding:
    """How a box is chosen, and what of it a gradient sees.

    Attributes:
        threshold: There is no such thing in the image where the best box scores no higher.
        box_gradient: Whether a gradient also reaches the pixels through the place of the box.
        score_path: Whether the answer also depends on how sure the detector is while it is sure
            enough, which lets a gradient attack talk it out of its box.
        shortest: Shorter side of the image that the detector gets, in pixels.
        longest: The longer side is no longer than this.
    """

    threshold: float | int = 0.25
    box_gradient: bool = True
    score_path: bool = False
    shortest: int = 800
    longest: int = 1333

    def __post_init__(self) -> None:
        if not isinstance(self.threshold, int | float) or not 0 < self.threshold < 1:
            raise ValueError(f"Expected a box_threshold between 0 and 1, got {self.threshold!r}.")

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what the detector gets of an image, as Hugging Face counts them.

        The shorter side is rounded and the longer one cut off, both in floating-point numbers,
        whose order of operations decides for some sizes.
        """
        short, long = min(height, width), max(height, width)
        side: float = self.shortest
        if long / short * side > self.longest:
            side = self.longest * short / long
        if short == round(side):
            return height, width
        other = int(side * long / short)
        return (round(side), other) if height <= width else (other, round(side))


class Found(NamedTuple):
    """The best box for each prompt.

    Attributes:
        boxes: Left, top, right and bottom edge as shares of the image.
        scores: How well it fits the words, in logits.
    """

    boxes: Float[Tensor, "b 4"]
    scores: Float[Tensor, " b"]


class GroundedSegmentAnything(SegmentAnything):
    """Text to box to mask (Liu et al., 2023; Ren et al., 2024), with the best box only.

    A pixel is foreground where the mask says so and the box scores above its threshold. What an
    attack by gradients can see: the mask given the box and, unless ``box_gradient`` is off, the
    place of the box as the last layer of the detector corrects it. What it cannot see: *which* of
    the proposals becomes the box, and the earlier corrections, which the detector cuts off. The
    score it sees where there is no box, or everywhere with ``score_path``: then the logit is the
    smaller one of mask and score, and the answer of every pixel stays what it was. So the model
    says of itself that it is not differentiable, and a low success of gradient attacks proves
    little; attacks without gradients see all of it.
    """

    text_conditioned = True
    wants_boxes = False
    is_differentiable = False
    net: "Pair"
    decoder = "segmenter.mask_decoder."
    tokenizer: Tokenizer
    grounding: Grounding
    detecting: Preprocessing

    def forward(self, images: Images, prompts: Sequence[str] | None = None) -> Logits:
        """Where in each image is what its prompt names?

        Raises:
            ValueError: If there is not one prompt per image.
        """
        found = self.find(images, prompts)
        boxes = found.boxes if self.grounding.box_gradient else found.boxes.detach()
        size = (images.shape[2], images.shape[3])
        height, width = self.canvas.content(*size)
        corners = boxes * boxes.new_tensor([width, height, width, height])
        pixels = self.canvas.put(images, self.mean, self.std)
        masks = self.canvas.take(self.masks_of(pixels, corners).float(), size)
        threshold = self.grounding.threshold
        margin = (found.scores - math.log(threshold / (1 - threshold))).view(-1, 1, 1, 1)
        both = torch.minimum(masks, margin)
        return both if self.grounding.score_path else torch.where(margin > 0, masks, both)

    def find(self, images: Images, prompts: Sequence[str] | None) -> Found:
        """The best box for each prompt; differentiable but for the choice of it."""
        tokens = self.tokenizer([_sentence(p) for p in one_each(prompts, len(images))])
        tokens = tokens.to(self.device)
        assert isinstance(self.tokenizer.config, BertConfig)
        mean, std = (
            images.new_tensor(value).view(1, 3, 1, 1)
            for value in (self.detecting.mean, self.detecting.std)
        )
        size = self.grounding.size(images.shape[2], images.shape[3])
        answer: Any = self.net.detector(
            pixel_values=(resized(images, size) - mean) / std,
            input_ids=tokens,
            attention_mask=(tokens != self.tokenizer.config.pad_token_id).long(),
        )
        scores = answer.logits.float().amax(dim=-1)
        best = scores.argmax(dim=1)
        rows = torch.arange(len(images), device=best.device)
        centre, extent = answer.pred_boxes[rows, best].float().split(2, dim=1)
        boxes = torch.cat([centre - extent / 2, centre + extent / 2], dim=1).clamp(0, 1)
        return Found(boxes, scores[rows, best])

    def segment(self, **inputs: Any) -> Any:
        """The segmenter alone."""
        return self.net.segmenter(**inputs)


class Pair(nn.Module):
    """Two networks whose weights are kept together."""

    def __init__(self, detector: nn.Module, segmenter: nn.Module) -> None:
        super().__init__()
        self.detector, self.segmenter = detector, segmenter


def _sentence(prompt: str) -> str:
    """As the detector learnt to read: in small letters, with a full stop."""
    text = prompt.lower().strip()
    return text if text.endswith(".") else f"{text}."
