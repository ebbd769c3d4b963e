"""What a criterion can be about: the metrics of the rows, and what is computed from them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import pandas as pd

from palpate.evaluation.metrics import Metric
from palpate.evaluation.results.rows import CLEAN
from palpate.evaluation.statistics.intervals import CHANGE, SHARE, Range
from palpate.reporting.acceptance.conditions import Condition

Values = Callable[[pd.DataFrame], pd.Series]


@dataclass(frozen=True)
class Measure:
    """One value per image, and how it is to be read.

    Attributes:
        name: Name in a criterion.
        label: Name on the page.
        higher_is_better: Direction.
        limits: Smallest and largest possible value.
        unit: Unit, empty for a share.
        values: Takes its values from rows of one condition.
        of_clean: Whether it has a meaning for clean images.
        minimal: Whether it is of attacks for the smallest perturbation instead of a fixed radius.
        eligible_only: Whether only images count whose clean prediction had not failed.
    """

    name: str
    label: str
    higher_is_better: bool
    limits: Range
    unit: str
    values: Values
    of_clean: bool = True
    minimal: bool = False
    eligible_only: bool = False

    @property
    def key(self) -> str:
        """The key of a criterion that fits to the direction."""
        return "at_least" if self.higher_is_better else "at_most"

    def shown(self, value: float) -> str:
        """A value with its unit; shares in percent.

        >>> DERIVED["drop"].shown(0.125), DERIVED["radius"].shown(inf)
        ('12.5 %', '∞')
        """
        if value in (inf, -inf):
            return "−∞" if value < 0 else "∞"
        if self.limits in (SHARE, CHANGE) and not self.unit:
            return f"{100 * value:.1f} %".replace("-", "−")
        return f"{value:.3g} {self.unit}".strip().replace("-", "−")

    def refuse(self, condition: Condition) -> None:
        """Check that the measure has a meaning under a condition.

        Raises:
            ValueError: If it has none.
        """
        if condition.attack == CLEAN and not self.of_clean:
            raise ValueError(f"{self.name} compares with the clean images; name an attack")
        if self.minimal and not condition.minimal:
            raise ValueError(
                f"{self.name} is of attacks that search for the smallest perturbation, and "
                f"{condition} has a fixed radius; use dsc, drop or success"
            )
        if condition.minimal and not (self.minimal or self.eligible_only):
            raise ValueError(
                f"{condition} searches for the smallest perturbation and stops as soon as it "
                f"succeeds, so its {self.name} has no meaning; use radius or success"
            )


def _radius(rows: pd.DataFrame) -> pd.Series:
    """Norm of the perturbation that broke each image; infinite where none did."""
    lengths = rows["l2"].where(rows["norm"] == "l2", rows["linf"] * 255)
    return lengths.where(rows["failure"] != "none", inf)


DERIVED = {
    measure.name: measure
    for measure in (
        Measure(
            "drop", "Drop of DSC", False, CHANGE, "", lambda r: r["dsc_clean"] - r["dsc"], False
        ),
        Measure(
            "success", "Success of the attack", False, SHARE, "",
            lambda r: r["success"].astype(float), False, eligible_only=True,
        ),
        Measure(
            "failed", "Failed predictions", False, SHARE, "",
            lambda r: (r["failure"] != "none").astype(float),
        ),
        Measure(
            "radius", "Robustness radius", True, (0.0, inf), "", _radius, False, minimal=True,
            eligible_only=True,
        ),
    )
}  # fmt: skip


def measures_of(metrics: Sequence[Metric]) -> dict[str, Measure]:
    """What can be judged in rows with these metrics, by name."""
    of_rows = {
        metric.name: Measure(
            metric.name,
            metric.label,
            metric.direction == "higher",
            (float(metric.range[0]), float(metric.range[1])),
            metric.unit,
            _column(metric.name),
        )
        for metric in metrics
    }
    return {**of_rows, **{n: m for n, m in DERIVED.items() if n not in of_rows}}


def _column(name: str) -> Values:
    return lambda rows: rows[name].astype(float)
