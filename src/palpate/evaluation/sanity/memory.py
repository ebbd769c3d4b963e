"""Check 20 of the sanity card: images that the model has not seen are no easier to attack.

A model may know images by heart and answer from memory for everything near one of them. Around
these images it looks robust, and its gradient may be sound, but it is not robust elsewhere.
"""

import numpy as np
from numpy.typing import NDArray

from palpate.evaluation.sanity.check import Check, Status, conclude
from palpate.evaluation.sanity.subject import Subject, scores_of
from palpate.evaluation.statistics import bootstrap_interval

_NOTABLE = 0.1  # DSC that an attack may take more from the moved images


def resists_elsewhere(subject: Subject) -> Check:
    """Check 20: PGD does as much damage to the images as to copies moved by an eighth."""
    results, _ = subject.attacked
    here, clean = scores_of(results), _clean(subject)
    moved = subject.moved
    there = scores_of(moved.pgd(epsilon=subject.epsilon, steps=subject.steps))
    elsewhere = _clean(moved)
    more = bootstrap_interval((elsewhere - there) - (clean - here))
    forgets = elsewhere.mean() < clean.mean() / 2
    status: Status = "fail" if more.low > _NOTABLE else "warn" if forgets else "pass"
    return conclude(
        20,
        status,
        f"PGD lowers the mean DSC from {clean.mean():.3f} to {here.mean():.3f}, and where the "
        f"images are moved by an eighth of their size from {elsewhere.mean():.3f} to "
        f"{there.mean():.3f}.",
        good="The model is no more robust on these images than on others like them.",
        doubtful="The model fails on the same images where they are moved: it may know them by "
        "heart, and the robustness measured is then one of its memory. Attack images of another "
        "source as well.",
        bad="The model resists on these very images and not where they are moved: it answers from "
        "memory, and the robustness measured does not hold for other images.",
    )


def _clean(subject: Subject) -> NDArray[np.float64]:
    return np.array([answer.dsc for batch in subject.clean for answer in batch])
