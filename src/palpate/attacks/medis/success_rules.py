"""Success criteria, stopping and steps of a MedIS run, corrected or as published.

The notebooks of MedIS (Shukla et al., 2023) have defects that change results. ``faithful=True``
reproduces them. The defects, and where palpate implements them:

1. A point is scored before it is updated, but counted under the number of the update that follows:
   "step 1" is the clean image, and the last update is never scored. See :meth:`Rules.number`.
2. An attack can succeed without any effect. With a small lesion, the background alone gives an mIoU
   of nearly one half, which reaches the success threshold for a target. A black target is always
   reached, because its mIoU is doubled. See :meth:`Rules.credit`. The corrected form reports such
   images separately, see :class:`palpate.evaluation.Medis`.
3. The gradient of the Dice losses is zero for a black target, so such images do not change.
4. Probabilities are rescaled, per image, to the range from 0 to 1, so that a white or black target
   can never be matched. See :meth:`Rules.score`, and the losses.
5. The random target is one mask for a whole data set, drawn anew for each loss; images that already
   have this mask are left out. See :class:`palpate.evaluation.Medis`.
6. The exponential-logarithmic loss is inverted, a weighting cancels, and probabilities are used
   as logits. See :mod:`palpate.attacks.losses.notebook`.
7. Runs continue after a success until a second threshold is reached. See :meth:`Rules.stops`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from palpate.attacks.core.checks import check_schedule
from palpate.attacks.medis.targets import DECIMALS
from palpate.attacks.threats import Threat
from palpate.geometry import perturb, project
from palpate.overlap import Counts, count, dice, miou
from palpate.types import Images, Maps, Masks

Criterion: TypeAlias = Literal["miou", "dice"]
Scores: TypeAlias = Float64[Tensor, " b"]

NOTEBOOK_STEP = 0.003922  # 1/255 rounded to four digits, as in the notebooks

_STOP = {False: 0.2, True: 0.95}  # score at which a run of the notebooks ends, by ``targeted``


@dataclass(frozen=True)
class Rules:
    """The steps of a MedIS run and the criteria of its success; made by :func:`success_rules`.

    A score is the agreement of a prediction with the target masks, which the attacker wants to
    increase, or without a target with the ground truth, which the attacker wants to decrease.
    Scores are float64, so that the same images meet a threshold on every device.

    Attributes:
        targeted: Whether the masks are target masks.
        epsilon: Radius of the L-infinity ball, in units of pixel value.
        steps: Maximum number of updates.
        step_size: Length of one step, in units of pixel value.
        criterion: Measure of agreement: mean IoU of both classes, or DSC.
        success: A run has succeeded at this score or above (without a target: at or below it).
        stop: A run ends at this score or above (without a target: at or below it).
        threshold: Logits above it are foreground.
        faithful: Whether to reproduce the published notebooks, including their defects.
        doubled: Whether the target is white or black, for which the notebooks double the mIoU.
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
        """Number of points of a run that are evaluated, including the clean image.

        The notebooks do not evaluate the last one (defect 1).
        """
        return self.steps if self.faithful else self.steps + 1

    def counts(self, point: int) -> bool:
        """Whether a run can succeed at this point. Point 0 is the clean image (defect 1)."""
        return point > 0 or self.faithful

    def number(self, point: int) -> int:
        """Number of steps reported for this point (defect 1)."""
        return point + 1 if self.faithful else point

    def score(self, logits: Maps, masks: Masks) -> Scores:
        """Agreement of each prediction with its mask, in [0, 1]."""
        if self.faithful:
            return _notebook_miou(logits, masks)
        return _CRITERIA[self.criterion](count(logits > self.threshold, masks), torch.float64)

    def credit(self, score: Scores) -> Scores:
        """The score that success is judged by: doubled by defect 2 for a white or black target.

        A white or black target contains one class. If the prediction contains both, the other class
        has an IoU of 0 in the mean, so doubling restores the IoU of the class of the target. If the
        prediction contains only that class, the mean is 1 without doubling; for this case the
        notebooks do not double the value 1.
        """
        if not self.doubled:
            return score
        return torch.where(score == 1, score, 2 * score)

    def succeeds(self, credit: Scores) -> Bool[Tensor, " b"]:
        """Whether the attack has succeeded, for each image."""
        return credit >= self.success if self.targeted else credit <= self.success

    def stops(self, score: Scores) -> Bool[Tensor, " b"]:
        """Whether a run ends here, judged by the score before any doubling."""
        return score >= self.stop if self.targeted else score <= self.stop

    def rank(self, credit: Scores) -> Scores:
        """The credit, negated without a target, so that higher is better for the attacker."""
        return credit if self.targeted else -credit

    def move(
        self, images: Images, here: Images, gradient: Images, masks: Masks, threat: Threat
    ) -> Images:
        """Take one step along the sign of the gradient, projected on the ball and on [0, 1].

        The notebooks do not project on the ball, because their steps cannot leave it.

        Args:
            images: Clean images.
            here: Current points.
            gradient: Gradient of the objective at these points.
            masks: Masks that the threat model refers to.
            threat: Threat model of the perturbation.
        """
        if not threat.is_bare:
            length, epsilon = self.step_size, self.epsilon
            delta = here - images + threat.step(gradient, masks, length, "linf")
            return threat.settle(images, delta, masks, epsilon, "linf")
        moved = here + self.step_size * gradient.sign()
        if self.faithful and (self.points - 1) * self.step_size <= self.epsilon:
            return moved.clamp(0.0, 1.0)
        return perturb(images, project(moved - images, self.epsilon, "linf"))


def success_rules(
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
    """Make the rules of a run, with the defaults of MedIS; for the arguments see :class:`Rules`.

    Raises:
        ValueError: If a number is out of range, the criterion is unknown or not that of the
            notebooks, or runs would stop before they can succeed.
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
        raise ValueError(
            f"Expected criterion 'miou' with faithful=True, as in the notebooks, got {criterion!r}."
        )
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
    """Mean IoU of the rescaled probabilities (defect 4), rounded to three decimals."""
    found = logits.sigmoid()
    low, high = found.amin((2, 3), keepdim=True), found.amax((2, 3), keepdim=True)
    stretched = ((found - low) / (high - low + 1e-8)).mean(1, keepdim=True)
    # The notebooks round 0.5 to the even number 0, so exactly 0.5 is background.
    return miou(count(stretched > 0.5, masks), torch.float64).round(decimals=DECIMALS)


_CRITERIA: dict[str, Callable[[Counts, torch.dtype], Scores]] = {"miou": miou, "dice": dice}
