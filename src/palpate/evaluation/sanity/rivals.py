"""Checks 7, 8 and 19 of the card: attacks that know less must not beat white-box ones.

If they do, the gradient of the model is masked and its white-box results cannot be trusted.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from palpate.evaluation.results.rows import CLEAN
from palpate.evaluation.results.white_box import BLACK_BOX, TRANSFERRED, is_one_of, is_white
from palpate.evaluation.sanity.check import Check, Status, conclude, worst
from palpate.evaluation.sanity.pairing import LOST, SAMPLE, SETTING
from palpate.evaluation.sanity.subject import Subject, scores_of
from palpate.evaluation.statistics import Interval, bootstrap_interval

# Mean DSC that the worse of both attacks on each image takes beyond the white-box one. An honest
# model yields 0.02 to 0.05 where both leave little: luck differs from image to image.
_MUCH = 0.05


def finds_no_more_by_search(subject: Subject) -> Check:
    """Check 7: Square Attack, which uses no gradient, does no more damage than PGD."""
    black = subject.square()
    return _BLACK.judge(
        scores_of(black),
        subject.white_scores,
        f"{black[0].row.forwards:.0f} queries of Square Attack",
        f"{subject.steps} steps of PGD with the better of two losses",
    )


def finds_no_more_when_smoothed(subject: Subject) -> Check:
    """Check 19: PGD with gradients of a copy of the model that sees noise does no more damage."""
    steps = max(1, subject.steps // 2)  # momentum averages over steps; half as many suffice
    smoothed = subject.transfer_from_smoothed(steps)
    return _SMOOTHED.judge(
        scores_of(smoothed),
        subject.white_scores,
        f"{steps} steps on a copy that sees noise",
        f"{subject.steps} steps of PGD with the better of two losses",
    )


def rivals_in(rows: pd.DataFrame) -> list[Check]:
    """Run checks 7 and 8 on the rows of black-box and transferred attacks, if there are any.

    Attacks are recognised by their names: ``square``, ``spsa``, ``nes``, ``simba`` and
    ``hopskipjump`` are black-box, ``transfer`` and ``from`` are transferred. More may follow after
    a hyphen or space (``spsa-500``, ``from-pranet``). Every other attack that used a gradient
    counts as a white-box attack.
    """
    attacked = rows[rows["attack"] != CLEAN]
    white = attacked[is_white(attacked)]
    return [
        _compare(kind, attacked[of_kind], white)
        for kind in (_BLACK, _TRANSFERRED)
        if (of_kind := is_one_of(attacked["attack"], kind.names)).any()
    ]


@dataclass(frozen=True)
class _Lead:
    """How much more damage a rival attack does than the white-box one, in DSC.

    Attributes:
        mean: Paired difference, positive if the rival does more damage on average.
        gain: What the rival adds where the worse of both counts on each image.
    """

    mean: Interval
    gain: Interval

    @property
    def status(self) -> Status:
        # NaN bounds, as of a single image, decide nothing: luck on one image is no masked gradient.
        if self.mean.low > LOST or self.gain.low > _MUCH:
            return "fail"
        return "warn" if self.mean.mean > LOST or self.gain.mean > _MUCH else "pass"

    def __str__(self) -> str:
        interval = f", 95 % interval {self.mean.low:+.3f} to {self.mean.high:+.3f}"
        return (
            f"difference {self.mean.mean:+.3f}{'' if np.isnan(self.mean.low) else interval}, "
            f"n = {self.mean.n}; the worse of both on each image is {self.gain.mean:.3f} lower"
        )


def _lead(rival: NDArray[Any], white: NDArray[Any]) -> _Lead:
    # The percentile bootstrap is somewhat too narrow in small samples: in doubt it raises the
    # alarm. Images are the units, not patients, because the question is about the model.
    gain = np.maximum(white - rival, 0.0)
    return _Lead(bootstrap_interval(white - rival), bootstrap_interval(gain))


@dataclass(frozen=True)
class _Rival:
    """A kind of attack that knows less about the model than a white-box attack."""

    number: int
    names: tuple[str, ...]
    good: str
    bad: str

    def judge(
        self, rival: NDArray[Any], white: NDArray[Any], rival_name: str, white_name: str
    ) -> Check:
        """Judge the DSC of the same images after an attack of this kind and a white-box one."""
        lead = _lead(rival, white)
        return conclude(
            self.number,
            lead.status,
            f"Mean DSC {rival.mean():.3f} after {rival_name}, {white.mean():.3f} after "
            f"{white_name}: {lead}.",
            good=self.good,
            doubtful="It did more damage on some images: give the white-box attack more steps or "
            "restarts, and report the worst of both.",
            bad=self.bad,
        )


_BLACK = _Rival(
    7,
    BLACK_BOX,
    good="A search without gradients finds no more than attacks that follow them.",
    bad="A search without gradients does more damage than attacks that follow them: the gradient "
    "is masked, and what looks like robustness is not. Look for saturation, rounding and stages "
    "that cut or bend the gradient.",
)
_TRANSFERRED = _Rival(
    8,
    TRANSFERRED,
    good="Gradients of other models lead to no more damage than the model's own.",
    bad="Gradients of another model do more damage than the model's own, which then tell little: "
    "the gradient is masked, and what looks like robustness is not.",
)
_SMOOTHED = _Rival(
    19,
    (),
    good="The gradient at a point leads as far as its average around it.",
    bad="The average gradient around a point does more damage than the gradient at it, which then "
    "tells little: it is shattered or masked, and what looks like robustness is not. Attack with "
    "gradients averaged over noise (EOT), and report the worst of both.",
)


def _compare(kind: _Rival, rivals: pd.DataFrame, white: pd.DataFrame) -> Check:
    """Compare the strongest attack of each kind on every image, and judge the worst epsilon."""
    by = [*SAMPLE, *SETTING]
    scores = {"rival": rivals.groupby(by)["dsc"].min(), "white": white.groupby(by)["dsc"].min()}
    both = pd.DataFrame(scores).dropna()
    if both.empty:
        meaning = "A white-box attack is needed at the same epsilon."
        return Check(kind.number, "not_run", f"Only {_names(rivals)} was run.", meaning)
    checks = []
    for (norm, epsilon), part in both.groupby(SETTING):
        names = _names(rivals), f"{_names(white)} ({norm} {epsilon:.3g})"
        checks.append(kind.judge(part["rival"].to_numpy(), part["white"].to_numpy(), *names))
    verdict = worst(check.status for check in checks)
    return next(check for check in checks if check.status == verdict)


def _names(rows: pd.DataFrame) -> str:
    return ", ".join(sorted(rows["attack"].unique()))
