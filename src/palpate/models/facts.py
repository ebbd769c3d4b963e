"""Facts about a model: one line of ``palpate models``."""

from dataclasses import dataclass

import torch
from torch import Tensor

from palpate.models.pixel_model import PixelModel
from palpate.prompting import Bound
from palpate.types import Images, LogitsFn

# Errors of a network that fails on its input, or through which no gradient flows.
BROKEN = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a model.

    Attributes:
        name: The name that ``load_model`` takes.
        family: See :data:`palpate.models.FAMILIES`.
        parameters: Their number.
        trainable: The number of those that require gradient after loading; if none does, of those
            that are trained with ``learns: all``.
        input_size: Size of the network's input, in words.
        threshold: A pixel is foreground where its probability exceeds this.
        text_conditioned: Whether the output depends on the prompt.
        wants_boxes: Whether it is prompted with the box of the true mask.
        differentiable: Whether a gradient of the logits reaches the pixels; None if the network
            fails on the images it was tried on.
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


def facts_of(model: PixelModel, family: str, images: Images, asked: Bound) -> ModelFacts:
    """Count the parameters of a model and try out its gradient.

    Args:
        model: In evaluation mode.
        family: Name of its family.
        images: Images to try it on.
        asked: The model with prompts and boxes for these images.
    """
    learning = [p for p in model.net.parameters() if p.requires_grad] or model.learners("all")
    return ModelFacts(
        name=model.name,
        family=family,
        parameters=sum(p.numel() for p in model.net.parameters()),
        trainable=sum(p.numel() for p in learning),
        input_size=model.input_text,
        threshold=model.threshold,
        text_conditioned=model.text_conditioned,
        wants_boxes=model.wants_boxes,
        differentiable=_is_differentiable(asked, images),
        origin=model.origin,
        licence=model.licence,
    )


def pixel_gradient(model: LogitsFn, images: Images) -> Tensor:
    """Gradient of the sum of the squared logits with respect to the pixels.

    Raises:
        RuntimeError: If autograd finds no path from one to the other.
    """
    with torch.enable_grad():
        points = images.detach().clone().requires_grad_()
        logits = model(points)
        gradient: Tensor | None = None
        if logits.requires_grad:
            (gradient,) = torch.autograd.grad(logits.square().sum(), points, allow_unused=True)
    if gradient is None:
        raise RuntimeError("Autograd finds no path from the logits back to the pixels.")
    return gradient


def _is_differentiable(model: LogitsFn, images: Images) -> bool | None:
    try:
        with torch.no_grad():
            model(images)
    except BROKEN:
        return None
    try:
        gradient = pixel_gradient(model, images)
    except BROKEN:
        return False
    return bool(gradient.isfinite().all() and (gradient != 0).flatten(1).any(1).all())
