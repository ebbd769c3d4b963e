"""Metrics: functions that score predictions against masks, one value per image.

To add a metric to palpate, write a function here and an entry in :data:`METRICS`. To use one
without adding it, name it ``file.py:function`` in a recipe, or pass it to
:func:`palpate.evaluate`.

>>> mask = torch.ones(1, 1, 2, 2, dtype=torch.bool)
>>> METRICS["dsc"](mask, mask), METRICS["recall"](~mask, mask)
(tensor([1.], dtype=torch.float64), tensor([0.], dtype=torch.float64))
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from math import inf
from typing import Any, TypeAlias

import torch
from torch import Tensor

from palpate.errors import did_you_mean
from palpate.evaluation.metrics import maps
from palpate.evaluation.metrics.boundary import hd95, nsd
from palpate.evaluation.metrics.maps import clipseg_scores, pranet_scores
from palpate.evaluation.metrics.metric import Direction, Metric, MetricInputs, declared
from palpate.overlap import Counts, binarise, count, dice, miou, ratio, require_pairs
from palpate.overlap import iou as iou_of
from palpate.plugins import Registry
from palpate.types import Masks, PerImage
from palpate.user_code import is_code, load_code

__all__ = [
    "METRICS",
    "Counts",
    "Metric",
    "MetricInputs",
    "Metrics",
    "binarise",
    "clipseg_scores",
    "count",
    "dice",
    "dsc",
    "find_metric",
    "find_metrics",
    "iou",
    "miou",
    "pranet_scores",
    "precision",
    "recall",
    "require_pairs",
]

# Each metric is a name, a Metric, or a function of the user.
Metrics: TypeAlias = Iterable[str | Metric | Callable[..., Any]]


def dsc(counts: Counts, predictions: Masks | None = None, truth: Tensor | None = None) -> PerImage:
    """Dice similarity coefficient; grey values in the ground truth weight the pixels."""
    if predictions is None or truth is None:
        return dice(counts)
    both, total = _grey_areas(predictions, truth)
    return torch.where(total == 0, 1.0, 2 * both / total.clamp_min(1e-12))


def iou(counts: Counts, predictions: Masks | None = None, truth: Tensor | None = None) -> PerImage:
    """Intersection over union of the foreground; grey values as for :func:`dsc`."""
    if predictions is None or truth is None:
        return iou_of(counts)
    both, total = _grey_areas(predictions, truth)
    return torch.where(total == 0, 1.0, both / (total - both).clamp_min(1e-12))


def precision(counts: Counts) -> PerImage:
    r"""Share of the predicted foreground that is correct, :math:`TP / (TP + FP)`."""
    return ratio(counts.tp, counts.area, counts)


def recall(counts: Counts) -> PerImage:
    r"""Recall or sensitivity: share of the true foreground found, :math:`TP / (TP + FN)`."""
    return ratio(counts.tp, counts.mask_area, counts)


def _grey_areas(predictions: Masks, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Area of the intersection, and the sum of both areas."""
    found, there = predictions.flatten(1).to(truth), truth.flatten(1)
    return (found * there).sum(1), found.sum(1) + there.sum(1)


_SHARE = (0.0, 1.0)
_OVERLAP = "1 if both masks are empty, 0 if one is"
_DISTANCE = "0 if both masks are empty, the diagonal of the image if one is"


def _of_plugin(name: str, thing: Metric | Callable[..., Any]) -> Metric:
    # Never a default metric: installing a package must not change what a run computes.
    metric = declared(thing)
    label = name if metric.label == metric.name else metric.label
    return replace(metric, name=name, label=label, default=False)


_NONE = "0 if the mask is empty"
# Of probability maps: function, direction, label, and value if the mask is empty.
_OF_MAPS: dict[str, tuple[Callable[..., PerImage], Direction, str, str]] = {
    "dice_mean": (maps.dice_mean, "higher", "Mean Dice", _NONE),
    "dice_max": (maps.dice_max, "higher", "Max Dice", _NONE),
    "iou_mean": (maps.iou_mean, "higher", "Mean IoU", _NONE),
    "iou_max": (maps.iou_max, "higher", "Max IoU", _NONE),
    "f_weighted": (maps.f_weighted, "higher", "Weighted F", _NONE),
    "s_measure": (
        maps.s_measure,
        "higher",
        "S-measure",
        "the mean of 1 - map if the mask is empty",
    ),
    "e_mean": (maps.e_mean, "higher", "Mean E", "the background of the map if the mask is empty"),
    "e_max": (maps.e_max, "higher", "Max E", "the background of the map if the mask is empty"),
    "mae": (maps.mae, "lower", "MAE", "the mean of the map if the mask is empty"),
    "average_precision": (maps.average_precision, "higher", "AP", _NONE),
    "best_iou": (maps.best_iou, "higher", "Best IoU", _OVERLAP),
}


def _of_map(
    name: str, function: Callable[..., PerImage], direction: Direction, label: str, empty: str
) -> Metric:
    return Metric(function, name, direction, label, "", _SHARE, empty, primary=False)


# In the order of the columns of rows and tables.
METRICS: Registry[Metric] = Registry(
    "METRICS",
    {
        "dsc": Metric(
            dsc, "dsc", "higher", "DSC", "", _SHARE, _OVERLAP, default=True, keeps_clean=True
        ),
        "iou": Metric(
            iou, "iou", "higher", "IoU", "", _SHARE, _OVERLAP, default=True, keeps_clean=True
        ),
        "miou": Metric(
            miou, "miou", "higher", "mIoU", "", _SHARE, _OVERLAP, default=True, primary=False
        ),
        "hd95": Metric(
            hd95, "hd95", "lower", "HD95", "px", (0.0, inf), _DISTANCE, default=True, primary=False
        ),
        "nsd": Metric(
            nsd, "nsd", "higher", "NSD", "", _SHARE, _OVERLAP, default=True, primary=False
        ),
        "precision": Metric(
            precision, "precision", "higher", "Precision", "", _SHARE, _OVERLAP, primary=False
        ),
        "recall": Metric(recall, "recall", "higher", "Recall", "", _SHARE, _OVERLAP, primary=False),
        **{name: _of_map(name, *declared) for name, declared in _OF_MAPS.items()},
    },
    _of_plugin,
)


def find_metrics(wanted: Metrics | None = None) -> tuple[Metric, ...]:
    """Look up the metrics of an evaluation, and try out those that are not palpate's own.

    Args:
        wanted: Names in :data:`METRICS`, ``file.py:function`` or ``package.module:function``,
            functions, or metrics. None: the default metrics.

    Returns:
        The metrics in the order given. If ``dsc`` is missing, it is added first, because success
        and failure modes are based on it.

    Raises:
        ValueError: If there is no such metric, a name is taken, or a metric cannot be computed.
        FileNotFoundError: If a named file does not exist.
    """
    if wanted is None:
        return tuple(metric for metric in METRICS.own.values() if metric.default)
    if isinstance(wanted, str):
        raise ValueError(f"Expected a list of metrics, got {wanted!r}; write [{wanted!r}].")
    found: dict[str, Metric] = {}
    for metric in map(find_metric, wanted):
        if found.setdefault(metric.name, metric) != metric:
            raise ValueError(
                f"Expected metrics with different names, got two named {metric.name!r}. Rename one."
            )
    if "dsc" not in found:
        found = {"dsc": METRICS["dsc"], **found}
    for metric in found.values():
        if metric.name not in METRICS.own:
            _try_out(metric)
    return tuple(found.values())


def find_metric(wanted: str | Metric | Callable[..., Any]) -> Metric:
    """Look up one metric; see :func:`find_metrics`."""
    if isinstance(wanted, str) and wanted in METRICS:
        return METRICS[wanted]
    if isinstance(wanted, str) and not is_code(wanted):
        raise ValueError(
            f"There is no metric {wanted!r}; expected some of {', '.join(METRICS)}, or your own "
            f"as file.py:function.{did_you_mean(wanted, METRICS)}"
        )
    function = load_code(wanted, "a metric")[1] if isinstance(wanted, str) else wanted
    metric = declared(function)
    if METRICS.get(metric.name, metric) != metric:
        raise ValueError(
            f"The name {metric.name!r} is that of a metric of palpate. Rename your function."
        )
    return metric


def _try_out(metric: Metric) -> None:
    """Score all combinations of empty and filled masks, to find errors before hours of attacks."""
    nothing = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    something = nothing.clone()
    something[..., 2:5, 3:7] = True
    predictions = torch.cat([nothing, something, nothing, something.roll(1, -1)])
    masks = torch.cat([nothing, nothing, something, something])
    keys = ["empty images", "an empty mask", "an empty prediction", "two masks"]
    metric.of(MetricInputs(predictions, masks, logits=predictions.float() * 2 - 1), keys)
