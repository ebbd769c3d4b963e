"""Checks of every answer of a network: shape, range, finite values, and a gradient at the pixels.

A network that fails silently looks robust. Therefore every call checks that the output is a tensor
of the right size, that all values are finite, and that autograd can trace it back to the pixels.
"""

import warnings
from typing import Literal, TypeAlias, get_args

from torch import Tensor

Out: TypeAlias = Literal["logits", "probabilities", "classes"]
OUTS: tuple[Out, ...] = get_args(Out)

# Tolerated deviation of a sum of probabilities from 1; wide enough for half precision.
_ROUNDED = 1e-2


class NoGradientError(RuntimeError):
    """A gradient is needed and the output of a network has none.

    Attributes:
        why: The reason, without a full stop.
    """

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why


def check_answer(
    values: Tensor, images: int, size: tuple[int, int], out: Out, stride: int
) -> Tensor:
    """Check the segmentation, and return it as ``(b, channels, h, w)``.

    Args:
        values: The segmentation, as returned by the network; the channel axis may be missing.
        images: Number of images.
        size: Height and width of the network's input, in pixels.
        out: What the network is said to return.
        stride: Input pixels per output pixel.

    Raises:
        ValueError: If shape, type or range do not match.
        FloatingPointError: If a value is not finite.
    """
    shape = tuple(values.shape)
    if values.dim() == 3:
        values = values[:, None]
    if values.dim() == 4 and len(values) != images:
        raise ValueError(
            f"Expected an answer for each of the {images} images of the batch, got "
            f"{len(values)} (shape {shape}). A network must not join or drop "
            "images; the first axis is the batch."
        )
    _check_shape(values, shape, size, stride, images)
    if not values.is_floating_point() and out != "classes":
        raise ValueError(
            f"Expected {out} that are floating-point numbers, got {values.dtype}; labels "
            "are out='classes', and have no gradient."
        )
    if values.is_floating_point():
        _check_finite(values, out)
        _check_range(values, out)
        _suspect(values, out)
    return values


def check_side(values: Tensor, images: int, out: Out) -> Tensor:
    """Check a side output ``(b, channels, rows, columns)`` of any resolution, and return it.

    Args:
        values: The side output, as returned by the network.
        images: Number of images.
        out: What the network is said to return.

    Raises:
        ValueError: If shape, type or range do not match.
        FloatingPointError: If a value is not finite.
    """
    if values.dim() != 4 or len(values) != images or not values.is_floating_point():
        raise ValueError(
            f"Expected a side map of floating-point numbers and shape ({images}, channels, "
            f"height, width), got {values.dtype} of shape {tuple(values.shape)}. If not all "
            "that the network returns beside its answer are maps, leave sides out."
        )
    _check_finite(values, f"{out} of a side map")
    _check_range(values, out)
    return values


def check_differentiable(values: Tensor, wanted: bool, name: str, why: str = "") -> None:
    """Raise an error if a gradient is needed and the output has none.

    Without this check, a model without gradient would look robust.

    Args:
        values: The output of a model.
        wanted: Whether a gradient is needed.
        name: Name of the model, for the message.
        why: Why the model is known to have no gradient; empty if that is not known.

    Raises:
        RuntimeError: If a gradient is needed and autograd cannot trace the output.
    """
    if wanted and not values.requires_grad:
        why = why or (
            "its output is labels, and labels have no gradient"
            if not values.is_floating_point()
            else ("part of it runs under no_grad, inference_mode, detach or numpy")
        )
        raise NoGradientError(
            why,
            f"Expected an answer of {name} that autograd can trace back to the pixels, got one "
            f"that it cannot: {why}. Return differentiable scores, or use attacks without "
            "gradients (square, spsa, simba, hopskipjump; noise as a control).",
        )


def add_up_to_one(values: Tensor) -> bool:
    """Whether the channels add up to 1 at every pixel, as after a softmax."""
    return bool(((values.sum(1) - 1).abs() < _ROUNDED).all())


def _check_shape(
    values: Tensor, shape: tuple[int, ...], size: tuple[int, int], stride: int, images: int
) -> None:
    """Check height and width; ``shape`` is that of the answer as the network returned it."""
    expected = tuple(-(-side // stride) for side in size)  # rounded up
    if values.dim() != 4 or values.shape[2:] != expected:
        coarser = " For an answer that is coarser than its input set stride=..."
        if values.dim() == 4 and values.shape[1:3] == expected:
            coarser = (
                " Its channels are last: set layout='nhwc' if the input has them last, too, or "
                "give call=..., a function that calls the network and moves them: "
                "`def call(net, images): return net(images).permute(0, 3, 1, 2)`."
            )
        elif values.dim() == 4 and all(
            side % rows == 0 and side // rows == size[0] // values.shape[2]
            for side, rows in zip(size, values.shape[2:], strict=True)
            if rows
        ):
            coarser = f" For an answer that is coarser set stride={size[0] // values.shape[2]}."
        raise ValueError(
            f"Expected an answer of shape ({images}, channels, {expected[0]}, {expected[1]}) "
            f"for an input of {size[0]} x {size[1]} pixels, got {shape}."
            f"{coarser * (values.dim() == 4)}"
        )


def _check_finite(values: Tensor, what: str) -> None:
    finite = values.isfinite().flatten(1).all(1)
    if not finite.all():
        broken = (~finite).nonzero().flatten().tolist()
        raise FloatingPointError(
            f"Expected {what} that are finite, got NaN or infinity for images {broken[:10]} of the "
            "batch."
        )


def _check_range(values: Tensor, out: Out) -> None:
    low, high = values.min().item(), values.max().item()
    if out == "probabilities" and not (low >= 0 and high <= 1):
        raise ValueError(
            f"Expected probabilities in [0, 1], got values in [{low:.3g}, {high:.3g}]; if they are "
            "logits, say out='logits'."
        )


def _suspect(values: Tensor, out: Out) -> None:
    """Warn if logits or class scores look like probabilities."""
    low, high = values.min().item(), values.max().item()
    if out == "classes" and values.shape[1] > 1 and low >= 0 and add_up_to_one(values):
        warnings.warn(
            "The scores of the classes add up to 1 at every pixel, as probabilities do, and are "
            "put through a softmax once more, which flattens them; if that is what they are, say "
            "out='probabilities'.",
            RuntimeWarning,
            stacklevel=3,
        )
    if out == "logits" and 0 <= low < 0.1 and 0.5 < high <= 1:
        warnings.warn(
            f"All logits lie in [0, 1] ({low:.3g} to {high:.3g}), as probabilities do; if that is "
            "what they are, say out='probabilities'.",
            RuntimeWarning,
            stacklevel=3,
        )
