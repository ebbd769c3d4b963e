"""Properties of a model, shown as one row of ``palpate models``."""

from dataclasses import dataclass

import torch
from torch import Tensor

from palpate.models.pixel_model import PixelModel
from palpate.prompting import Bound
from palpate.types import Images, LogitsFn

# Errors that a network may raise in its forward or backward pass.
BROKEN = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class ModelFacts:
    """Properties of a model.

    Attributes:
        name: Name of the model, as accepted by ``load_model``.
        family: Name of the family, see :data:`palpate.models.FAMILIES`.
        parameters: Total number of parameters.
        trainable: Number of parameters that require gradient after loading. If there are none, the
            number of parameters trained with ``learns: all``.
        input_size: Description of the network's input size, such as ``352 x 352``.
        threshold: Probability above which a pixel is foreground.
        text_conditioned: Whether the output depends on the text prompt.
        wants_boxes: Whether the model is prompted with the bounding box of the true mask.
        differentiable: Whether the gradient of the logits with respect to the pixels is finite and
            nonzero; None if the forward pass fails.
        origin: Where the weights come from.
        licence: Licence of the weights.
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
    """Collect the properties of a model, and test whether its gradient reaches the pixels.

    Args:
        model: The model, in evaluation mode.
        family: Name of the model's family.
        images: Images ``(b, 3, h, w)`` in [0, 1] for the gradient test.
        asked: The model with the prompts and boxes of these images bound.
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

    Args:
        model: Maps images to logits.
        images: Images ``(b, 3, h, w)`` in [0, 1].

    Returns:
        The gradient, in the shape of the images.

    Raises:
        RuntimeError: If the logits do not depend on the pixels in the autograd graph.
    """
    with torch.enable_grad():
        points = images.detach().clone().requires_grad_()
        logits = model(points)
        gradient: Tensor | None = None
        if logits.requires_grad:
            # Squared, so that logits of opposite sign do not cancel in the sum.
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
