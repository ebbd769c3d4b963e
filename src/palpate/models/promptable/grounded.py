"""Grounding DINO finds a box for the text, Segment Anything segments what is in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from palpate.models.clip.config import BertConfig
from palpate.models.clip.tokenizer import Tokenizer
from palpate.models.pixel_model import one_prompt_each
from palpate.models.preprocessing import Preprocessing, resized
from palpate.models.promptable.model import Promptable
from palpate.models.promptable.segment_anything import masks_in
from palpate.types import Images, Logits


@dataclass(frozen=True)
class Grounding:
    """How the box is selected, and which gradients it passes on.

    Attributes:
        threshold: Probability that the best box must exceed; otherwise the mask is empty.
        box_gradient: Whether a gradient also reaches the pixels through the coordinates of the box.
        score_path: Whether the logits also depend on the score of the box above the threshold, so
            that a gradient attack can lower the score.
        shortest: Shorter side of the detector's input, in pixels.
        longest: Limit of the longer side, in pixels.
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
        """Height and width of the detector's input for an image, as Hugging Face computes them.

        The shorter side is rounded and the longer one truncated, in floating-point arithmetic,
        where the order of operations matters for some sizes.
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
        scores: Scores of the boxes for their texts, as logits.
    """

    boxes: Float[Tensor, "b 4"]
    scores: Float[Tensor, " b"]


class GroundedSegmentAnything(Promptable):
    """Text to box to mask (Liu et al., 2023; Ren et al., 2024), with the best box only.

    A pixel is foreground if it is in the mask and the score of the box exceeds its threshold.
    Gradients pass through the mask given the box and, unless ``box_gradient`` is off, through the
    last refinement of the box coordinates. They do not pass through the selection of the box among
    the proposals, nor through earlier refinements, which the detector detaches. They pass through
    the score where there is no box, or everywhere with ``score_path``: the logit is then the
    smaller one of mask and score, which changes no prediction. So the model declares that it is not
    differentiable: a low success rate of gradient attacks proves little, and attacks without
    gradients should be used as well.
    """

    text_conditioned = True
    is_differentiable = False
    net: "Pair"
    decoder = "segmenter.mask_decoder."
    tokenizer: Tokenizer
    grounding: Grounding
    detecting: Preprocessing

    def forward(self, images: Images, prompts: Sequence[str] | None = None) -> Logits:
        """Segment what the prompt of each image names.

        Args:
            images: RGB in [0, 1], of any size.
            prompts: One text per image.

        Returns:
            Logits ``(b, 1, h, w)`` at the size of the images, in float32.

        Raises:
            ValueError: If there is not one prompt per image.
        """
        found = self.find(images, prompts)
        boxes = found.boxes if self.grounding.box_gradient else found.boxes.detach()
        size = (images.shape[2], images.shape[3])
        height, width = self.canvas.content(*size)
        corners = boxes * boxes.new_tensor([width, height, width, height])
        pixels = self.canvas.put(images, self.mean, self.std)
        masks = self.canvas.take(masks_in(self.net.segmenter, pixels, corners).float(), size)
        threshold = self.grounding.threshold
        margin = (found.scores - math.log(threshold / (1 - threshold))).view(-1, 1, 1, 1)
        both = torch.minimum(masks, margin)
        return both if self.grounding.score_path else torch.where(margin > 0, masks, both)

    def find(self, images: Images, prompts: Sequence[str] | None) -> Found:
        """The best box for each prompt; differentiable except for the selection."""
        tokens = self.tokenizer([_sentence(p) for p in one_prompt_each(prompts, len(images))])
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


class Pair(nn.Module):
    """Detector and segmenter as one module."""

    def __init__(self, detector: nn.Module, segmenter: nn.Module) -> None:
        super().__init__()
        self.detector, self.segmenter = detector, segmenter


def _sentence(prompt: str) -> str:
    """The form the detector was trained with: lower case, with a full stop."""
    text = prompt.lower().strip()
    return text if text.endswith(".") else f"{text}."
