"""Means, confidence intervals and tests over rows, clustered by patient."""

from palpate.evaluation.statistics.bootstrap import (
    Interval,
    bootstrap_interval,
    differences,
    paired_difference,
)
from palpate.evaluation.statistics.curves import (
    Radius,
    area_under_curve,
    epsilon_at_half,
    median_radius,
    success_rate,
    worst_decile,
)
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
    "median_radius",
    "paired_difference",
    "paired_test",
    "success_rate",
    "worst_decile",
]
