"""Checks that a loss gives one value per image, and that no image affects another's value."""

from collections.abc import Callable, Iterator
from itertools import combinations, count, islice
from math import comb

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.types import Maps, PerImage


def as_one_per_image(values: object, images: int) -> PerImage:
    """Return the values of a loss if there is one per image.

    Args:
        values: Return value of the loss.
        images: Number of images.

    Raises:
        ValueError: If the shape is not ``(images,)``. A scalar would be broadcast silently.
    """
    shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
    if not isinstance(values, Tensor) or shape != (images,):
        raise ValueError(
            f"Expected a loss of shape ({images},), one value per image, got {shape}; a mean over "
            "the batch would couple its images, so reduce over pixels only."
        )
    return values


def refuse_coupled_loss(loss: Callable[[Maps], PerImage], logits: Maps) -> None:
    """Check like :func:`refuse_coupled` where loss values have no graph, by one more call.

    A loss that autograd cannot differentiate is not checked and not refused, because black-box
    attacks can use it.

    Args:
        loss: Maps logits to one value per image.
        logits: Logits to evaluate the loss at.

    Raises:
        ValueError: If the value of an image changes with the logits of another.
    """
    if len(logits) == 1:
        return
    with torch.inference_mode(False), torch.enable_grad():
        alone = logits.detach().clone().requires_grad_()
        try:
            values = loss(alone.clone())  # a clone, because a loss may write into its argument
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError:
            return
        refuse_coupled(values, alone)


def refuse_coupled(values: PerImage, logits: Maps) -> None:
    """Raise ``ValueError`` if the value of an image depends on the logits of another image.

    One value per image may still be the mean over the batch, repeated. The check costs a few
    backward passes through the loss; the model is not called.

    Args:
        values: Values of the loss, one per image, with their autograd graph.
        logits: Logits that they were computed from.

    Raises:
        ValueError: If the value of an image changes with the logits of another.
    """
    if len(values) == 1 or not (values.requires_grad and logits.requires_grad):
        return
    with torch.inference_mode(False), torch.enable_grad():
        if any(_reaches_beyond(values, logits, rows) for rows in _groups(logits)):
            raise ValueError(
                "Expected a loss of each image by itself, got one that depends on the other "
                "images of the batch, as a mean over the batch does; reduce over pixels only."
            )


def _reaches_beyond(values: PerImage, logits: Maps, rows: Bool[Tensor, " b"]) -> bool:
    """Whether the values of these images have a gradient in the logits of the others."""
    # The weights differ, so that opposite contributions of two images do not cancel.
    weights = torch.where(rows, torch.linspace(1, 2, len(rows)).to(values), 0.0)
    (gradient,) = torch.autograd.grad(values, logits, weights, retain_graph=True, allow_unused=True)
    # NaN and infinite gradients are reported elsewhere, by the check for finite gradients.
    return gradient is not None and bool((gradient[~rows].nan_to_num() != 0).any())


def _groups(logits: Maps) -> Iterator[Bool[Tensor, " b"]]:
    """Groups of images such that for any ordered pair, some group has only the first image.

    Each image is in half of the groups (rounded down), and no two images are in the same set of
    groups. By Sperner's theorem (1928) few groups suffice: 6 for 16 images and 9 for 96.
    """
    images = len(logits)
    groups = next(n for n in count(2) if comb(n, n // 2) >= images)
    members = list(islice(combinations(range(groups), groups // 2), images))
    for group in range(groups):
        yield torch.tensor([group in each for each in members], device=logits.device)
