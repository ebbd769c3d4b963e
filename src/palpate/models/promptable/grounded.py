"""Grounded SAM: Grounding DINO detects a box for the text prompt, and a SAM segments it."""

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
    """Settings of the detector: selection of the box, gradient paths and input size.

    Attributes:
        threshold: Probability that the score of the best box must exceed; otherwise the mask is
            empty.
        box_gradient: Whether the gradient also flows through the coordinates of the box.
        score_path: Whether the logits depend on the score of the box even above the threshold, so
            that a gradient attack can lower the score.
        shortest: Length of the shorter side of the detector's input, in pixels.
        longest: Maximum length of the longer side, in pixels.
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
        """Height and width of the detector's input for an image, in pixels.

        This repeats Hugging Face's computation in floating-point arithmetic: the shorter side is
        rounded and the longer one truncated. For some sizes the order of operations matters.
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
        boxes: Left, top, right and bottom edge, as fractions of the image's size.
        scores: Scores of the boxes for their prompts, as logits.
    """

    boxes: Float[Tensor, "b 4"]
    scores: Float[Tensor, " b"]


class GroundedSegmentAnything(Promptable):
    """Grounding DINO (Liu et al., 2023) with a SAM (Ren et al., 2024), using only the best box.

    A pixel is foreground if it is in the mask and the score of the box exceeds the threshold.

    The gradient is incomplete. It flows through the mask for a given box and, unless
    ``box_gradient`` is off, through the last refinement of the box coordinates. It does not flow
    through the selection of the box among the proposals, nor through earlier refinements, which the
    detector detaches. It flows through the score only if the score is below the threshold, or
    always with ``score_path``: the logit is then the minimum of mask logit and score margin, which
    does not change any prediction. Therefore ``is_differentiable`` is False: a low success rate of
    gradient attacks is weak evidence of robustness, so run gradient-free attacks as well.
    """

    text_conditioned = True
    is_differentiable = False
    net: "Pair"
    decoder = "segmenter.mask_decoder."
    tokenizer: Tokenizer
    grounding: Grounding
    detecting: Preprocessing

    def forward(self, images: Images, prompts: Sequence[str] | None = None) -> Logits:
        """Segment the object named by each image's prompt.

        Args:
            images: RGB images ``(b, 3, h, w)`` in [0, 1], of any size.
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
        """Detect the best box for each prompt; only the selection is not differentiable.

        Args:
            images: RGB images ``(b, 3, h, w)`` in [0, 1], of any size.
            prompts: One text per image.
        """
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
    """Detector and segmenter in one module."""

    def __init__(self, detector: nn.Module, segmenter: nn.Module) -> None:
        super().__init__()
        self.detector, self.segmenter = detector, segmenter


def _sentence(prompt: str) -> str:
    """Convert a prompt to the form used in the detector's training: lower case, full stop."""
    text = prompt.lower().strip()
    return text if text.endswith(".") else f"{text}."
