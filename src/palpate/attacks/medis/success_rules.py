"""When a run of MedIS succeeds, when it ends, and what its steps are: right, and as published.

The notebooks of MedIS (Shukla et al., 2023) differ in many ways from what they set out to do.
Those that change a number, and where in palpate they are (``faithful=True`` everywhere):

1. A point is scored before it is updated, under the number of the update that follows: "step 1"
   is the clean image, and the last update is never scored. Here, :meth:`Rules.number`.
2. Success can be had for nothing. With a small lesion the background alone gives an mIoU of
   nearly one half, which reaches the threshold for a target, and black is always reached, for
   its mIoU is doubled. Here, :meth:`Rules.credit`; the right form tells such images apart, see
   :class:`palpate.evaluation.Medis`.
3. The Dice losses are flat where the target is black, and flat images do not move.
4. Probabilities are stretched, per image, to run from 0 to 1, so that white and black can never
   be matched. Here, in the score, and in the losses.
5. The random target is one mask for a whole data set, drawn anew for each loss; images whose
   own mask it is are left out. In :class:`palpate.evaluation.Medis`.
6. The exponential-logarithmic loss is inverted, a weighting cancels, and probabilities are taken
   for logits. In :mod:`palpate.attacks.losses.notebook`.
7. Runs go on after they have succeeded, to another threshold. Here, :meth:`Rules.stops`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from palpate.attacks.core.checks import check_schedule
from palpate.attacks.threats import Threat
from palpate.geometry import perturb, project
from palpate.overlap import Counts, count
from palpate.types import Images, Maps, Masks

Criterion: TypeAlias = Literal["miou", "dice"]
Scores: TypeAlias = Float64[Tensor, " b"]

NOTEBOOK_STEP = 0.003922  # 1/255 to four digits, as the notebooks have it

_DECIMALS = 3  # that the notebooks keep of an mIoU before they compare it with anything
_STOP = {False: 0.2, True: 0.95}  # where a run of the notebooks ends, without and with a target


@dataclass(frozen=True)
class Rules:
    """How runs of MedIS are stepped and judged; made by :func:`rules`.

    Scores say how well a prediction agrees with what the masks show: the target where there is
    one, and then the attacker wants much of it, otherwise the truth. They are held in double
    precision, so that a threshold is met by the same images on every device.

    Attributes:
        targeted: Whether the masks are what the attacker wants to see.
        epsilon: Radius of the ball (L-infinity), in units of pixel value.
        steps: Updates, at most.
        step_size: Length of one, in units of pixel value.
        criterion: What agreement is measured by: mean IoU of both classes, or DSC.
        success: Score from which on (or with no target, down from which) a run has succeeded.
        stop: The same, from which on it also ends.
        threshold: Logits above it are foreground.
        faithful: Whether all is done as the notebooks do it.
        doubled: Whether the target is white or black, whose mIoU the notebooks double.
    """

    targeted: bool
    epsilon: float
    steps: int
    step_size: float
    criterion: Criterion
    success: float
    stop: float
    threshold: float
    faithful: bool
    doubled: bool

    @property
    def points(self) -> int:
        """How many points of a run are looked at, the clean image included.

        The notebooks do not look at the last one (defect 1).
        """
        return self.steps if self.faithful else self.steps + 1

    def counts(self, point: int) -> bool:
        """Whether a run can succeed at this point; at the clean image, 0, only by defect 1."""
        return point > 0 or self.faithful

    def number(self, point: int) -> int:
        """How many steps an attack is said to have taken to this point (defect 1)."""
        return point + 1 if self.faithful else point

    def score(self, logits: Maps, masks: Masks) -> Scores:
        """How well each prediction agrees with its mask."""
        if self.faithful:
            return _notebook_miou(logits, masks)
        return _CRITERIA[self.criterion](count(logits > self.threshold, masks))

    def credit(self, score: Scores) -> Scores:
        """What success is judged by: the score, or by defect 2 twice as much.

        A class that only the prediction has counts as 0 in the mean of two, so doubling gives
        back the IoU of the other. Where both lack it the mean is that IoU already; the notebooks
        leave alone exactly the value 1.
        """
        if not self.doubled:
            return score
        return torch.where(score == 1, score, 2 * score)

    def succeeds(self, credit: Scores) -> Bool[Tensor, " b"]:
        """Whether the attacker has what was wanted."""
        return credit >= self.success if self.targeted else credit <= self.success

    def stops(self, score: Scores) -> Bool[Tensor, " b"]:
        """Whether a run ends here; it goes by the score before any doubling."""
        return score >= self.stop if self.targeted else score <= self.stop

    def rank(self, credit: Scores) -> Scores:
        """More is better for the attacker."""
        return credit if self.targeted else -credit

    def move(
        self, images: Images, here: Images, gradient: Images, masks: Masks, threat: Threat
    ) -> Images:
        """One step up; in the notebooks without a ball, which so many steps do not leave.

        ``masks`` are those whose places a threat model goes by.
        """
        if not threat.is_bare:
            length, epsilon = self.step_size, self.epsilon
            delta = here - images + threat.step(gradient, masks, length, "linf")
            return threat.settle(images, delta, masks, epsilon, "linf")
        moved = here + self.step_size * gradient.sign()
        if self.faithful and (self.points - 1) * self.step_size <= self.epsilon:
            return moved.clamp(0.0, 1.0)
        return perturb(images, project(moved - images, self.epsilon, "linf"))


def rules(
    *,
    targeted: bool,
    epsilon: float,
    steps: int = 10,
    step_size: float | None = None,
    criterion: Criterion = "miou",
    success: float | None = None,
    stop: float | None = None,
    threshold: float = 0.0,
    faithful: bool = False,
    doubled: bool = False,
) -> Rules:
    """Rules with whatever is not given as MedIS has it.

    Raises:
        ValueError: If there is nothing to do, the radius is none, the criterion is unknown or not
            that of the notebooks, or a threshold is outside [0, 1], or runs would stop before they
            succeed.
    """
    check_schedule(steps, 1, step_size)
    if not 0 <= epsilon <= 1:
        raise ValueError(
            f"Expected epsilon in units of pixel value, 0 to 1, got {epsilon:g}; eight grey levels "
            "are 8 / 255."
        )
    if criterion not in _CRITERIA:
        raise ValueError(f"Expected criterion 'miou' or 'dice', got {criterion!r}.")
    if faithful and criterion != "miou":
        raise ValueError(f"The notebooks go by 'miou', got {criterion!r} with faithful=True.")
    if success is None:
        success = 0.45 if targeted and criterion == "miou" else 0.5
    if stop is None:
        furthest = max if targeted else min
        stop = furthest(_STOP[targeted], success) if faithful else success
    _check_thresholds(success, stop, targeted)
    return Rules(
        targeted=targeted,
        epsilon=epsilon,
        steps=steps,
        step_size=step_size or (NOTEBOOK_STEP if faithful else 1 / 255),
        criterion=criterion,
        success=success,
        stop=stop,
        threshold=threshold,
        faithful=faithful,
        doubled=doubled and faithful,
    )


def _check_thresholds(success: float, stop: float, targeted: bool) -> None:
    if not (0 <= success <= 1 and 0 <= stop <= 1):
        raise ValueError(f"Expected success and stop in [0, 1], got {success} and {stop}.")
    if (stop < success) if targeted else (stop > success):
        relation = "at least" if targeted else "at most"
        raise ValueError(
            f"Expected stop to be {relation} success, {success}, got {stop}: a run must not end "
            "before it succeeds."
        )


def _notebook_miou(logits: Maps, masks: Masks) -> Scores:
    """Mean IoU of the stretched probabilities (defect 4), rounded to three decimals."""
    found = logits.sigmoid()
    low, high = found.amin((2, 3), keepdim=True), found.amax((2, 3), keepdim=True)
    stretched = ((found - low) / (high - low + 1e-8)).mean(1, keepdim=True)
    # Rounding halves to even makes exactly one half background.
    return _miou(count(stretched > 0.5, masks)).round(decimals=_DECIMALS)


def _miou(counts: Counts) -> Scores:
    """Mean IoU over those of the two classes that prediction or mask has."""
    correct = torch.stack([counts.tp, counts.tn]).double()
    mean: Tensor = (correct / (correct + counts.fp + counts.fn)).nanmean(dim=0)
    return mean


def _dice(counts: Counts) -> Scores:
    """DSC, whose single precision would miss a threshold that it meets exactly."""
    twice = 2 * counts.tp.double()
    whole = twice + counts.fp + counts.fn
    return torch.where(whole > 0, twice / whole.clamp_min(1), 1.0)


_CRITERIA: dict[str, Callable[[Counts], Scores]] = {"miou": _miou, "dice": _dice}
