"""Metrics of probability maps, as the benchmarks of PraNet and CLIPSeg compute them.

PraNet's benchmark stretches the probabilities of each image to the whole range, stores them in 8
bits, and scores this grey map at all of its 256 thresholds. Its tables hold the mean over
thresholds and images ("mean Dice"), and the maximum over thresholds of the mean over images. Here,
the maxima of single images are metrics; :func:`pranet_scores` computes the numbers of a table.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from scipy.integrate import simpson
from scipy.ndimage import correlate1d, distance_transform_edt
from torch import Tensor

from palpate.types import Logits, Masks, PerImage

Map = NDArray[np.uint8]
Truth = NDArray[np.bool_]
_LEVELS = 256
_EPS = np.spacing(1)
_CLIPSEG = np.linspace(0, 1, 51)[1:-1]  # thresholds of CLIPSeg's evaluation


class Curves(NamedTuple):
    """Scores of each image at each threshold 0, 1, ..., 255 of its grey map."""

    dice: Float[Tensor, "b 256"]
    iou: Float[Tensor, "b 256"]
    e_measure: Float[Tensor, "b 256"]


def grey_maps(logits: Logits | None, ignored: Masks | None = None) -> UInt8[Tensor, "b 1 h w"]:
    """Probabilities of each image, stretched to the values 0 to 255, on the CPU.

    Args:
        logits: Logits ``(b, 1, h, w)``.
        ignored: Pixels that do not count: they are 0 and do not take part in the stretching.

    Raises:
        ValueError: If there are no logits.
    """
    found = _given(logits).detach().double().sigmoid().cpu()
    counted = torch.ones_like(found, dtype=torch.bool) if ignored is None else ~ignored.cpu()
    lowest = found.masked_fill(~counted, torch.inf).flatten(1).amin(1)[:, None, None, None]
    highest = found.masked_fill(~counted, -torch.inf).flatten(1).amax(1)[:, None, None, None]
    stretched = (found - lowest) / (highest - lowest + 1e-8)
    return (255 * stretched).round().masked_fill(~counted, 0).to(torch.uint8)


def curves_of(maps: UInt8[Tensor, "b 1 h w"], masks: Masks) -> Curves:
    """Dice, IoU and E-measure of each image at all thresholds.

    As in PraNet's benchmark, Dice and IoU are 0 where prediction and mask do not overlap, also if
    both are empty.
    """
    lines = [_curve(*pair) for pair in _pairs(maps, masks)]
    return Curves(*(torch.from_numpy(np.stack(part)) for part in zip(*lines, strict=True)))


def dice_mean(curves: Curves) -> PerImage:
    """Mean Dice over the 256 thresholds of the grey map, the "mean Dice" of PraNet's tables."""
    return curves.dice.mean(1)


def dice_max(curves: Curves) -> PerImage:
    """Dice at the threshold that is best for the image."""
    return curves.dice.amax(1)


def iou_mean(curves: Curves) -> PerImage:
    """Mean IoU over the 256 thresholds of the grey map, the "mean IoU" of PraNet's tables."""
    return curves.iou.mean(1)


def iou_max(curves: Curves) -> PerImage:
    """IoU at the threshold that is best for the image."""
    return curves.iou.amax(1)


def e_mean(curves: Curves) -> PerImage:
    """Mean over the thresholds of the enhanced-alignment measure (Fan et al., 2018).

    https://arxiv.org/abs/1805.10421
    """
    return curves.e_measure.mean(1).clamp_max(1)


def e_max(curves: Curves) -> PerImage:
    """Enhanced-alignment measure at the threshold that is best for the image, at most 1."""
    # The definition divides by one pixel less than there are, so that it can exceed 1 slightly.
    return curves.e_measure.amax(1).clamp_max(1)


def mae(maps: UInt8[Tensor, "b 1 h w"], masks: Masks, ignored: Masks | None) -> PerImage:
    """Mean absolute difference of the grey map, in [0, 1], and the mask."""
    errors = (maps.double() / 255 - masks.cpu().double()).abs().flatten(1)
    pixels = errors.shape[1] - (0 if ignored is None else ignored.cpu().flatten(1).sum(1))
    return errors.sum(1) / torch.as_tensor(pixels).clamp_min(1)


def s_measure(maps: UInt8[Tensor, "b 1 h w"], masks: Masks) -> PerImage:
    """Structure measure: similarity of object and regions (Fan et al., 2017).

    https://arxiv.org/abs/1708.00786
    """
    return _per_image(_structure, maps, masks)


def f_weighted(maps: UInt8[Tensor, "b 1 h w"], masks: Masks) -> PerImage:
    """Weighted F-measure: errors count by their distance from the mask (Margolin et al., 2014).

    https://doi.org/10.1109/CVPR.2014.39
    """
    return _per_image(_weighted_f, maps, masks)


def average_precision(logits: Logits | None, masks: Masks, ignored: Masks | None) -> PerImage:
    """Average precision of the pixels, ranked by their logits; 0 if the mask is empty."""
    values = []
    for index, (found, truth) in enumerate(zip(_given(logits).cpu(), masks.cpu(), strict=True)):
        counted = slice(None) if ignored is None else ~ignored[index].cpu().flatten()
        scores, there = found.flatten()[counted], truth.flatten()[counted]
        order = scores.argsort(descending=True)
        ranked, hits = scores[order], there[order].double().cumsum(0)
        last = torch.cat([ranked[1:] != ranked[:-1], torch.ones(1, dtype=torch.bool)])
        hits, taken = hits[last], last.nonzero()[:, 0] + 1
        gained = torch.diff(hits, prepend=hits.new_zeros(1)) / hits[-1].clamp_min(1)
        values.append((gained * hits / taken).sum())
    return torch.stack(values)


def best_iou(logits: Logits | None, masks: Masks) -> PerImage:
    """IoU at the best of the 49 thresholds 0.02, 0.04, ..., 0.98 of CLIPSeg's evaluation."""
    probabilities, truth = _given(logits).double().sigmoid().flatten(1), masks.flatten(1)
    best = probabilities.new_zeros(len(probabilities))
    for threshold in _CLIPSEG:
        predicted = probabilities > threshold
        both, either = (predicted & truth).sum(1), (predicted | truth).sum(1)
        best = torch.maximum(best, torch.where(either == 0, 1.0, both / either.clamp_min(1)))
    return best


def pranet_scores(maps: Sequence[Map], masks: Sequence[Truth]) -> dict[str, float]:
    """Scores of a test set as in the tables of PraNet and of later work on polyps.

    Args:
        maps: Grey map of each image, ``(h, w)``, uint8, stretched to 0 to 255, such as the files
            of ``palpate predict`` with stretched probabilities.
        masks: Ground truth of each, bool, of the same shape.

    Returns:
        Means over the images of the metrics of this module. ``dice_max``, ``iou_max`` and ``e_max``
        are the maximum over thresholds of the mean over images, as published: one threshold for
        all images.

    Raises:
        ValueError: If there are no maps, or a map and its mask differ in shape or type.
    """
    _check(maps, masks)
    lines = [_curve(*pair) for pair in zip(maps, masks, strict=True)]
    dice, iou, e_measure = (np.stack(part).mean(0) for part in zip(*lines, strict=True))
    pairs = list(zip(maps, masks, strict=True))
    return {
        "dice_mean": float(dice.mean()), "iou_mean": float(iou.mean()),
        "f_weighted": float(np.mean([_weighted_f(*pair) for pair in pairs])),
        "s_measure": float(np.mean([_structure(*pair) for pair in pairs])),
        "e_mean": float(e_measure.mean()), "e_max": float(e_measure.max()),
        "dice_max": float(dice.max()), "iou_max": float(iou.max()),
        "mae": float(np.mean([np.abs(found / 255.0 - truth).mean() for found, truth in pairs])),
    }  # fmt: skip


def clipseg_scores(
    probabilities: Sequence[NDArray[np.floating]], masks: Sequence[Truth]
) -> dict[str, float]:
    """Scores of a test set as CLIPSeg's evaluation computes them, from the pixels of all images.

    Args:
        probabilities: Probabilities of each image, ``(h, w)``, in [0, 1].
        masks: Ground truth of each, bool, of the same shape.

    Returns:
        ``ap``, the area under the curve of precision over recall by Simpson's rule; ``fgiou_best``,
        the IoU at the best of 49 thresholds; ``threshold``, that threshold. As published, 1 is
        added to every denominator.

    Raises:
        ValueError: If there are no maps, a map and its mask differ in shape, or no pixel is
            predicted at any threshold.
    """
    _check(probabilities, masks, kind=None)
    tp, fp, fn = (np.zeros(len(_CLIPSEG)) for _ in range(3))
    for found, truth in zip(probabilities, masks, strict=True):
        for place, threshold in enumerate(_CLIPSEG):
            predicted = found > threshold
            hits = np.count_nonzero(predicted & truth)
            tp[place] += hits
            fp[place] += np.count_nonzero(predicted) - hits
            fn[place] += np.count_nonzero(truth) - hits
    some = tp + fp > 0
    if not some.any():
        raise ValueError("Expected a probability above 0.02, got none: nothing is predicted.")
    recall, precision = (tp / (1 + tp + fn))[some], (tp / (1 + tp + fp))[some]
    points = np.array(sorted({*zip(recall, precision, strict=True)}, key=lambda point: point[0]))
    ious = tp / (1 + tp + fp + fn)
    return {
        "ap": float(simpson(points[:, 1], x=points[:, 0])) if len(points) > 1 else 0.0,
        "fgiou_best": float(ious.max()),
        "threshold": float(_CLIPSEG[ious.argmax()]),
    }


def _given(logits: Logits | None) -> Logits:
    if logits is None:
        raise ValueError("it is computed from probabilities; pass logits=...")
    return logits


def _check(
    maps: Sequence[NDArray[np.generic]], masks: Sequence[Truth], kind: type | None = np.uint8
) -> None:
    if not len(maps) or len(maps) != len(masks):
        raise ValueError(f"Expected as many maps as masks, got {len(maps)} and {len(masks)}.")
    for index, (found, truth) in enumerate(zip(maps, masks, strict=True)):
        right = found.shape == truth.shape and truth.dtype == bool and found.ndim == 2
        if not right or (kind is not None and found.dtype != kind):
            raise ValueError(
                f"Expected a map (h, w){'' if kind is None else ' of uint8'} and a bool mask of "
                f"the same shape, map {index} is {found.dtype} {found.shape}, its mask "
                f"{truth.dtype} {truth.shape}."
            )


def _pairs(maps: Tensor, masks: Tensor) -> list[tuple[Map, Truth]]:
    return [
        (found[0].numpy(), truth[0].numpy())
        for found, truth in zip(maps.cpu(), masks.cpu(), strict=True)
    ]


def _per_image(function: Callable[[Map, Truth], float], maps: Tensor, masks: Tensor) -> PerImage:
    return torch.tensor([function(*pair) for pair in _pairs(maps, masks)], dtype=torch.float64)


def _curve(found: Map, truth: Truth) -> tuple[NDArray[np.float64], ...]:
    """Dice, IoU and E-measure of one image at thresholds 0 to 255, each ``(256,)``."""
    inside, outside = (
        np.bincount(found[where], minlength=_LEVELS)[::-1].cumsum()[::-1]
        for where in (truth, ~truth)
    )
    area, predicted = int(np.count_nonzero(truth)), inside + outside
    dice = 2 * inside / np.maximum(area + predicted, 1)
    iou = inside / np.maximum(area + outside, 1)
    return dice, iou, _enhanced_alignment(inside, outside, area, truth.size)


def _enhanced_alignment(
    inside: NDArray[np.int_], outside: NDArray[np.int_], area: int, pixels: int
) -> NDArray[np.float64]:
    """E-measure from the number of predicted pixels inside and outside of the mask."""
    predicted = inside + outside
    if area == 0:
        agreed: NDArray[np.float64] = (pixels - predicted).astype(float)
    elif area == pixels:
        agreed = predicted.astype(float)
    else:
        # Deviations from the mean have two values in the prediction and two in the mask.
        shares, share = predicted / pixels, area / pixels
        parts = (
            (inside, 1 - shares, 1 - share),
            (outside, 1 - shares, -share),
            (area - inside, -shares, 1 - share),
            (pixels - area - outside, -shares, -share),
        )
        agreed = np.zeros(len(predicted))
        for count, ours, theirs in parts:
            alignment = 2 * ours * theirs / (ours**2 + theirs**2 + _EPS)
            agreed += count * (1 + alignment) ** 2 / 4
    scores: NDArray[np.float64] = agreed / (pixels - 1 + _EPS)
    return scores


def _structure(found: Map, truth: Truth) -> float:
    values, share = found / 255.0, float(truth.mean())
    if share in (0.0, 1.0):
        return float(values.mean()) if share else float(1 - values.mean())
    of_object = share * _object(values[truth]) + (1 - share) * _object(1 - values[~truth])
    return max(0.0, 0.5 * of_object + 0.5 * _regions(values, truth))


def _object(values: NDArray[np.float64]) -> float:
    """Similarity of a region that should be 1 everywhere."""
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return float(2 * mean / (mean**2 + 1 + deviation + _EPS))


def _regions(values: NDArray[np.float64], truth: Truth) -> float:
    """Structural similarity of the four parts around the centre of the mask, weighted by area."""
    # Counted from 1 and rounded half up, as MATLAB does.
    row, column = (int(np.floor(places.mean() + 1.5)) for places in np.nonzero(truth))
    total = 0.0
    for rows in (slice(None, row), slice(row, None)):
        for columns in (slice(None, column), slice(column, None)):
            part = values[rows, columns]
            if part.size:
                total += part.size / truth.size * _similarity(part, truth[rows, columns])
    return total


def _similarity(values: NDArray[np.float64], truth: Truth) -> float:
    there = truth.astype(float)
    mean, other = float(values.mean()), float(there.mean())
    free = values.size - 1 + _EPS
    variances = float(((values - mean) ** 2).sum() + ((there - other) ** 2).sum()) / free
    covariance = float(((values - mean) * (there - other)).sum()) / free
    above, below = 4 * mean * other * covariance, (mean**2 + other**2) * variances
    if above != 0:
        return float(above / (below + _EPS))
    return 1.0 if below == 0 else 0.0


def _weighted_f(found: Map, truth: Truth) -> float:
    if not truth.any():
        return 0.0
    errors = np.abs(found / 255.0 - truth)
    distances, (rows, columns) = distance_transform_edt(~truth, return_indices=True)
    # Pixels outside take the error of the nearest pixel of the mask, or it would be blurred away.
    spread = np.where(truth, errors, errors[rows, columns])
    window = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 5**2))
    window /= window.sum()
    for axis in (0, 1):
        spread = correlate1d(spread, window, axis, mode="constant")
    least = np.where(truth, np.minimum(errors, spread), errors)
    weighted = least * np.where(truth, 1.0, 2 - np.exp(np.log(0.5) / 5 * distances))
    area = np.count_nonzero(truth)
    hits, wrong = area - weighted[truth].sum(), weighted[~truth].sum()
    recall, precision = hits / area, hits / (hits + wrong + _EPS)
    return float(2 * recall * precision / (recall + precision + _EPS))
