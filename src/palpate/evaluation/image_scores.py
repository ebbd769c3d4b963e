"""What a model says about images, scored against the truth, one answer per image."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palpate.attacks.losses import bce
from palpate.evaluation.metrics import boundary
from palpate.evaluation.metrics import overlap as metrics
from palpate.types import Images, Logits, LogitsFn, Masks, PerImage


@dataclass(frozen=True)
class Answer:
    """A prediction and how right it is, as the columns of a row name it."""

    prediction: Bool[Tensor, "1 h w"]  # on the CPU
    dsc: float
    iou: float
    miou: float
    hd95: float
    nsd: float
    area: float  # in pixels
    loss: float
    truth_area: float  # in pixels, of the truth that DSC went by


def answer(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    threshold: float,
    tolerance: float,
    keys: Sequence[str],
    truth: Float[Tensor, "b 1 h w"] | None = None,
) -> list[Answer]:
    """Run the model once and score what it says, in single precision.

    Args:
        model: Maps images to logits, prompts bound.
        images: In [0, 1].
        masks: Ground truth.
        threshold: Logit above which a pixel is foreground.
        tolerance: Of the surface Dice, in pixels.
        keys: Names of the images, for errors.
        truth: Masks with grey values, by which DSC and IoU then go.

    Raises:
        ValueError: If the model returns anything but one logit per pixel.
        FloatingPointError: If a logit is not finite: as a prediction it would be background, and
            look like the success of an attack.
    """
    with torch.no_grad():  # not inference_mode: a model may cache what attacks then use
        logits = _checked(model(images), images, keys)
        predictions = metrics.binarise(logits, threshold)
        counts = metrics.count(predictions, masks)
        columns = (
            *_overlap(predictions, counts, truth),
            metrics.miou(counts),
            *boundary.boundary_scores(predictions, masks, tolerance),
            counts.area,
            bce(logits, masks),
            (masks if truth is None else truth).flatten(1).sum(1),
        )
        numbers = torch.stack([column.double().cpu() for column in columns], dim=1).tolist()
    return [Answer(p, *values) for p, values in zip(predictions.cpu(), numbers, strict=True)]


def _overlap(
    predictions: Masks, counts: metrics.Counts, truth: Tensor | None
) -> tuple[PerImage, PerImage]:
    """DSC and IoU; with grey values a pixel counts as far as it is foreground."""
    if truth is None:
        return metrics.dice(counts), metrics.iou(counts)
    found, there = predictions.flatten(1).to(truth), truth.flatten(1)
    both, total = (found * there).sum(1), found.sum(1) + there.sum(1)
    empty = total == 0
    dsc = torch.where(empty, 1.0, 2 * both / total.clamp_min(1e-12))
    return dsc, torch.where(empty, 1.0, both / (total - both).clamp_min(1e-12))


def _checked(logits: object, images: Images, keys: Sequence[str]) -> Logits:
    expected = (len(images), 1, *images.shape[2:])
    if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
        shape = tuple(getattr(logits, "shape", ())) or type(logits).__name__
        raise ValueError(
            f"Expected logits of shape {expected}, one per pixel, the model returned {shape}. "
            "Resizing belongs inside the model."
        )
    broken = ~logits.isfinite().flatten(1).all(1)
    if broken.any():
        names = [key for key, is_broken in zip(keys, broken.tolist(), strict=True) if is_broken]
        raise FloatingPointError(
            f"Expected finite logits, the model returned NaN or infinity for {names}. Look for "
            "overflow in half precision or broken weights."
        )
    return logits.float()
