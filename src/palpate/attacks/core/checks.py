"""Checks of an attack's arguments, made before the model is called."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from palpate.attacks.threats import Threat, Within, threat_model
from palpate.types import Norm

_IMAGE_TYPES = (torch.float32, torch.float64)


def check_inputs(
    images: Tensor, masks: Tensor, epsilon: float, norm: Norm, within: Within
) -> Threat:
    """Check the arguments that all attacks within a ball share, and return the threat model.

    Args:
        images: Clean images ``(b, c, h, w)`` in [0, 1].
        masks: Boolean masks ``(b, 1, h, w)``.
        epsilon: Radius of the ball, in units of pixel value.
        norm: Norm of the ball.
        within: Threat model as a plain value.

    Raises:
        ValueError: If an argument is not valid, or the threat model does not fit the images or
            the radius.
    """
    check_images(images, masks)
    check_ball(epsilon, norm, images)
    threat = threat_model(within)
    threat.check(images, epsilon, norm)
    return threat


def check_images(images: Tensor, masks: Tensor) -> None:
    """Raise ``ValueError`` unless images are float in [0, 1] with one bool mask each."""
    if images.dtype not in _IMAGE_TYPES:
        raise ValueError(
            f"Expected images of type float32 or float64, got {images.dtype}; divide integers by "
            "their largest value, and let the model cast if it computes in half precision, which "
            "cannot hold a perturbation of 1/255."
        )
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"Expected images of shape (b, c, h, w), got {tuple(images.shape)}.")
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):  # written this way round, NaN is refused too
        raise ValueError(
            f"Expected images in [0, 1], got values in [{low:.3g}, {high:.3g}]. "
            "If they are already normalised, pass raw images and let the model normalise them."
        )
    expected = (len(images), 1, *images.shape[2:])
    if masks.dtype != torch.bool or tuple(masks.shape) != expected:
        raise ValueError(
            f"Expected bool masks of shape {expected}, got {masks.dtype} of shape "
            f"{tuple(masks.shape)}; resize masks to their images and threshold them."
        )
    if masks.device != images.device:
        raise ValueError(f"Expected masks on {images.device}, got masks on {masks.device}.")


def check_ball(epsilon: float, norm: str, images: Tensor) -> None:
    """Raise ``ValueError`` unless ``epsilon`` is a valid radius in units of pixel value."""
    if norm not in ("l2", "linf"):
        raise ValueError(f"Expected norm 'l2' or 'linf', got {norm!r}.")
    if not epsilon >= 0:
        raise ValueError(f"Expected epsilon >= 0, got {epsilon}.")
    if norm == "linf" and epsilon > 1:
        raise ValueError(
            f"Expected epsilon <= 1, got {epsilon}: pixels lie in [0, 1]; "
            f"for {epsilon:g} grey levels of 255 pass {epsilon:g} / 255."
        )
    # A larger ball contains every image, so a larger epsilon is likely in grey levels.
    longest = math.sqrt(images[0].numel())
    if epsilon > longest:
        raise ValueError(
            f"Expected an l2 epsilon <= {longest:.4g}, the distance from a black to a white "
            f"image of this size, got {epsilon}; pixels lie in [0, 1]."
        )


def check_schedule(steps: int, restarts: int, step_size: float | None) -> None:
    """Raise ``ValueError`` unless steps, restarts and step size are positive."""
    if steps < 1 or restarts < 1:
        raise ValueError(f"Expected steps >= 1 and restarts >= 1, got {steps} and {restarts}.")
    if step_size is not None and not 0 < step_size < math.inf:
        raise ValueError(f"Expected a finite step_size > 0, got {step_size}.")


def check_keep(keep: str, choices: Sequence[str], early_stop: bool) -> None:
    """Raise ``ValueError`` unless ``keep`` is one of the choices and allows early stopping."""
    if keep not in choices:
        *most, last = map(repr, choices)
        raise ValueError(f"Expected keep {', '.join(most)} or {last}, got {keep!r}.")
    if early_stop and keep != "dice":
        raise ValueError(
            f"Expected keep='dice' with early_stop, got keep={keep!r}: stopping at the worst "
            "Dice score changes which iterate has the highest loss and which is the last."
        )


def check_queries(queries: int, at_least: int, keep: str, early_stop: bool) -> None:
    """Raise ``ValueError`` unless the query budget and ``keep`` of a black-box attack are valid."""
    if queries < at_least:
        raise ValueError(f"Expected queries >= {at_least}, got {queries}.")
    if keep not in ("dice", "loss"):
        raise ValueError(f"Expected keep 'dice' or 'loss', got {keep!r}.")
    if early_stop and keep != "dice":
        raise ValueError(
            f"Expected keep='dice' with early_stop, got keep={keep!r}: stopping at the worst "
            "Dice score changes which point has the highest loss."
        )
