"""Predictions of a model for images, scored against the ground truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palpate.attacks.losses import bce
from palpate.evaluation.metrics import Metric, MetricInputs
from palpate.overlap import binarise
from palpate.types import Images, Logits, LogitsFn, Masks


@dataclass(frozen=True)
class Answer:
    """The prediction for one image, and its scores."""

    prediction: Bool[Tensor, "1 h w"]  # on the CPU
    scores: Mapping[str, float]  # of each metric, by its name
    area: float  # in pixels
    loss: float
    truth_area: float  # in pixels, of the ground truth used for DSC (a sum if it has grey values)

    @property
    def dsc(self) -> float:
        """Dice similarity coefficient, which determines success and the failure mode."""
        return self.scores["dsc"]


def answer(
    model: LogitsFn,
    images: Images,
    masks: Masks,
    *,
    metrics: Sequence[Metric],
    threshold: float,
    tolerance: float,
    keys: Sequence[str],
    truth: Float[Tensor, "b 1 h w"] | None = None,
    ignored: Masks | None = None,
) -> list[Answer]:
    """Run the model once and score its predictions, in single precision.

    Args:
        model: Maps images to logits; prompts and ignored pixels are already bound.
        images: Shape ``(b, 3, h, w)``, values in [0, 1].
        masks: Ground truth, bool, shape ``(b, 1, h, w)``.
        metrics: Metrics to compute; see :func:`palpate.evaluation.metrics.find_metrics`.
        threshold: Logit above which a pixel is foreground.
        tolerance: Tolerance of the normalised surface Dice, in pixels.
        keys: Names of the images, for error messages.
        truth: Ground truth with grey values; if given, DSC and IoU use it instead of ``masks``.
        ignored: Pixels that count in no score, shape ``(b, 1, h, w)``; there ``masks`` are False
            and the logits those of background, see :func:`palpate.prompting.without_ignored`.

    Returns:
        One answer per image, in order.

    Raises:
        ValueError: If the model does not return one logit per pixel, or a metric does not return
            one finite number per image.
        FloatingPointError: If a logit is not finite. NaN would be predicted as background, which
            looks like a successful attack.
    """
    # Not inference_mode: a model may cache tensors here that attacks later differentiate through.
    with torch.no_grad():
        logits = checked_logits(model(images), images, keys)
        predictions = binarise(logits, threshold)
        inputs = MetricInputs(
            predictions, masks, logits, threshold, truth, tolerance, ignored=ignored
        )
        scores = {metric.name: metric.of(inputs, keys).tolist() for metric in metrics}
        columns = (
            inputs.counts.area,
            bce(logits, masks) * _over_counted(masks, ignored),
            (masks if truth is None else truth).flatten(1).sum(1),
        )
        numbers = torch.stack([column.double().cpu() for column in columns], dim=1).tolist()
    return [
        Answer(prediction, {name: values[i] for name, values in scores.items()}, *numbers[i])
        for i, prediction in enumerate(predictions.cpu())
    ]


def _over_counted(masks: Masks, ignored: Masks | None) -> Tensor | float:
    """Factor that turns a mean over all pixels into one over those that count."""
    if ignored is None:
        return 1.0
    pixels = masks[0].numel()
    return pixels / (pixels - ignored.flatten(1).sum(1)).clamp_min(1)


def checked_logits(logits: object, images: Images, keys: Sequence[str]) -> Logits:
    """What a model returned, in single precision, if it is one finite logit per pixel.

    Args:
        logits: What it returned.
        images: The images that it was called with, ``(b, c, h, w)``.
        keys: Names of the images, for error messages.

    Raises:
        ValueError: If it is not one logit per pixel.
        FloatingPointError: If a logit is not finite.
    """
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
