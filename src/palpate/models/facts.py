"""What there is to know of a model before it is used: the lines of ``palpate models``."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from palpate.models.pixel_model import PixelModel
from palpate.types import Images

# What a network that could not carry on any gradient, or fails on its own images, raises.
BROKEN = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class ModelFacts:
    """A model's card.

    Attributes:
        name: It loads by.
        family: See :data:`palpate.models.FAMILIES`.
        parameters: All of them.
        trainable: Those that require gradient as it was loaded; where none does, those that learn
            when all of it is trained.
        input_size: What the network gets, in words.
        threshold: A pixel is foreground where its probability exceeds this.
        text_conditioned: Whether the prompt decides what is segmented.
        wants_boxes: Whether it is asked with the box of the true mask.
        differentiable: Whether a gradient of the logits reaches the pixels; None where it fails on
            the images it was tried on, so that there is no telling.
        origin: Where the weights come from.
        licence: Of the weights.
    """

    name: str
    family: str
    parameters: int
    trainable: int
    input_size: str
    threshold: float
    text_conditioned: bool
    wants_boxes: bool
    differentiable: bool | None
    origin: str
    licence: str


def facts_of(model: PixelModel, family: str, images: Images, prompts: Sequence[str]) -> ModelFacts:
    """Count and try out a model.

    Args:
        model: In evaluation mode.
        family: It belongs to.
        images: To try it on.
        prompts: One for each.
    """
    learning = [p for p in model.net.parameters() if p.requires_grad] or model.learners("all")
    return ModelFacts(
        name=model.name,
        family=family,
        parameters=sum(p.numel() for p in model.net.parameters()),
        trainable=sum(p.numel() for p in learning),
        input_size=_input_size(model),
        threshold=model.threshold,
        text_conditioned=model.text_conditioned,
        wants_boxes=model.wants_boxes,
        differentiable=_is_differentiable(model, images, prompts),
        origin=model.origin,
        licence=model.licence,
    )


def pixel_gradient(model: PixelModel, images: Images, prompts: Sequence[str]) -> Tensor:
    """Gradient of the sum of the squared logits with respect to the pixels.

    Raises:
        RuntimeError: If autograd finds no path from one to the other.
    """
    with torch.enable_grad():
        points = images.detach().clone().requires_grad_()
        logits = model(points, prompts)
        gradient: Tensor | None = None
        if logits.requires_grad:
            (gradient,) = torch.autograd.grad(logits.square().sum(), points, allow_unused=True)
    if gradient is None:
        raise RuntimeError("Autograd finds no path from the logits back to the pixels.")
    return gradient


def _is_differentiable(model: PixelModel, images: Images, prompts: Sequence[str]) -> bool | None:
    try:
        with torch.no_grad():
            model(images, prompts)
    except BROKEN:
        return None
    try:
        gradient = pixel_gradient(model, images, prompts)
    except BROKEN:
        return False
    return bool(gradient.isfinite().all() and (gradient != 0).flatten(1).any(1).all())


def _input_size(model: PixelModel) -> str:
    size = model.preprocessing.size
    if size is not None:
        return f"{size} x {size}"
    return "as it is" if model.multiple == 1 else f"as it is, multiples of {model.multiple}"
