"""That a loss looks at each image by itself, and gives one value for each."""

from collections.abc import Callable, Iterator
from itertools import combinations, count, islice
from math import comb

import torch
from jaxtyping import Bool
from torch import Tensor

from palpate.types import Maps, PerImage


def as_one_per_image(values: object, images: int) -> PerImage:
    """The values of a loss for so many images.

    Raises:
        ValueError: If there are more or fewer; one number for all would be spread silently.
    """
    shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
    if not isinstance(values, Tensor) or shape != (images,):
        raise ValueError(
            f"Expected a loss of shape ({images},), one value per image, got {shape}; a mean over "
            "the batch would couple its images, so reduce over pixels only."
        )
    return values


def refuse_coupled_loss(loss: Callable[[Maps], PerImage], logits: Maps) -> None:
    """:func:`refuse_coupled` where no gradient was asked for: calls the loss once more.

    A loss that autograd cannot trace is taken on trust: attacks by forward passes alone have a
    use for it.
    """
    if len(logits) == 1:
        return
    with torch.inference_mode(False), torch.enable_grad():
        alone = logits.detach().clone().requires_grad_()
        try:
            values = loss(alone.clone())  # it may write into what it gets
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError:
            return
        refuse_coupled(values, alone)


def refuse_coupled(values: PerImage, logits: Maps) -> None:
    """One value per image may still be one mean over the batch, several times.

    The model is not asked; what it costs is a few passes back through the loss.

    Args:
        values: Of the loss, one per image.
        logits: What they were made of.

    Raises:
        ValueError: If the value of an image changes with the logits of another.
    """
    if len(values) == 1 or not (values.requires_grad and logits.requires_grad):
        return
    with torch.inference_mode(False), torch.enable_grad():
        if any(_reaches_beyond(values, logits, rows) for rows in _groups(logits)):
            raise ValueError(
                "Expected a loss of each image by itself, got one that depends on the other "
                "images of the batch, as a mean over all of them does; reduce over pixels only."
            )


def _reaches_beyond(values: PerImage, logits: Maps, rows: Bool[Tensor, " b"]) -> bool:
    """Whether the values of these images have a slope in the logits of the others."""
    # Different weights, so that what two images have in common does not cancel.
    weights = torch.where(rows, torch.linspace(1, 2, len(rows)).to(values), 0.0)
    (slope,) = torch.autograd.grad(values, logits, weights, retain_graph=True, allow_unused=True)
    # Where a slope is infinite, no share of it is NaN; that is found out elsewhere.
    return slope is not None and bool((slope[~rows].nan_to_num() != 0).any())


def _groups(logits: Maps) -> Iterator[Bool[Tensor, " b"]]:
    """Groups of the images such that of any two, some group has the first and not the second.

    Each image is in half of the groups, and no two in the same ones (Sperner, 1928): so few
    groups suffice, 6 for 16 images and 9 for 96.
    """
    images = len(logits)
    groups = next(n for n in count(2) if comb(n, n // 2) >= images)
    members = list(islice(combinations(range(groups), groups // 2), images))
    for group in range(groups):
        yield torch.tensor([group in each for each in members], device=logits.device)
