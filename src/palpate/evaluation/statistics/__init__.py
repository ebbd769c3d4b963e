"""Means, confidence intervals and tests over rows, clustered by patient."""

from palpate.evaluation.statistics.bootstrap import bootstrap_interval
from palpate.evaluation.statistics.curves import (
    Radius,
    area_under_curve,
    epsilon_at_half,
    median_radius,
    success_rate,
    worst_decile,
)
from palpate.evaluation.statistics.decision import images_to_decide
from palpate.evaluation.statistics.intervals import (
    Interval,
    mean_interval,
    paired_difference,
    quantile_interval,
)
from palpate.evaluation.statistics.samples import differences
from palpate.evaluation.statistics.significance import Comparison, holm, paired_test

__all__ = [
    "Comparison",
    "Interval",
    "Radius",
    "area_under_curve",
    "bootstrap_interval",
    "differences",
    "epsilon_at_half",
    "holm",
    "images_to_decide",
    "mean_interval",
    "median_radius",
    "paired_difference",
    "paired_test",
    "quantile_interval",
    "success_rate",
    "worst_decile",
]
