"""Check 18 of the sanity card: the output changes as its gradient says.

A stage may round the image, compress it or look it up, and pass on a gradient as if it did not
(straight-through). All that a gradient alone shows then looks well. But the output stays the same,
or jumps, where the gradient says that it changes a little.
"""

from math import isfinite

import torch

from palpate.attacks import LOSSES
from palpate.data.sample import Batch
from palpate.evaluation.sanity.check import Check, Status, conclude
from palpate.evaluation.sanity.declared import NOTICEABLE, declared
from palpate.evaluation.sanity.gradients import gradient_at
from palpate.evaluation.sanity.subject import Subject
from palpate.randomness import generator
from palpate.types import Images, PerImage

# In units of pixel value. The length that agrees best counts: a shorter one if the model is bent so
# strongly that its gradient says nothing of the longer (palpate/tiny on narrow-band phantoms: 0.63,
# 0.07 and 0.005), a longer one if the model computes in half precision. All are below half a grey
# level, so that an image on the 8-bit lattice stays within its cell.
_LENGTHS = (0.4 / 255, 0.1 / 255, 0.025 / 255)
_DIRECTIONS = 8
_CLOSE, _WRONG = 0.2, 0.5  # errors of the predicted change, relative to its size
_FEW = 0.2  # share of images whose gradient may be wrong by chance, as at the kink of a ReLU


def follows_its_gradient(subject: Subject) -> Check:
    """Check 18: tiny random changes of an image change the margin as its gradient predicts."""
    if subject.largest_gap > NOTICEABLE:
        why = "The same image gets different outputs, so their changes have other causes as well."
        return Check(18, "not_run", why, "See checks 13 and 15.")
    errors = torch.cat([_errors(subject, batch) for batch in subject.batches])
    wrong = ~(errors <= _WRONG)  # negated, so that NaN counts
    said = declared(subject.scorer.model, "is_differentiable", prevailing=False)
    return conclude(
        18,
        _status(errors, wrong, is_declared=said is False),
        f"Tiny random changes of the image ({255 * _LENGTHS[0]:g} grey levels or less): on "
        f"{int(wrong.sum())} of {len(wrong)} images the output is off from what the gradient "
        f"predicts by more than half of the predicted change{_median(errors)}.",
        good="The gradient is that of the output.",
        doubtful="The gradient is only a substitute for that of the output: attacks that follow it "
        "may miss much. Report a black-box attack and a transferred one as well.",
        bad="The gradient is not that of the output, as with rounding, compression or stored "
        "answers behind a straight-through gradient: attacks that follow it may be misled. Declare "
        "is_differentiable = False, and report a black-box attack and a transferred one as well.",
    )


def _median(errors: PerImage) -> str:
    median = errors.median().item()
    # Infinite where the gradient is zero or NaN, which check 10 reports.
    return f", by {median:.2g} times that change in the median" if isfinite(median) else ""


def _status(errors: PerImage, wrong: PerImage, *, is_declared: bool) -> Status:
    if wrong.float().mean() > _FEW:
        return "warn" if is_declared else "fail"
    return "warn" if wrong.any() or errors.median() > _CLOSE else "pass"


def _errors(subject: Subject, batch: Batch) -> PerImage:
    """Error of the predicted changes of each image, relative to their size."""
    # Away from 0 and 1, where models cut the image off.
    centre = batch.images.clamp(_LENGTHS[0], 1 - _LENGTHS[0])
    slope = gradient_at(subject, batch, centre, LOSSES["margin"])
    directions = _directions(subject.scorer.seed, batch)
    predicted = torch.stack([(slope * each).flatten(1).sum(1) for each in directions])
    best = torch.full((len(batch.cases),), torch.inf, device=centre.device)
    for length in _LENGTHS:
        steps = [length * direction for direction in directions]
        found = torch.stack([_change(subject, batch, centre, step) for step in steps]) / length
        error = (found - predicted).norm(dim=0) / predicted.norm(dim=0)
        best = torch.fmin(best, error)
        if (best <= _CLOSE).all():
            break
    return best


def _directions(seed: int, batch: Batch) -> list[Images]:
    """Random signs, which depend on the image only."""
    drawn = [
        torch.randint(
            0, 2, (_DIRECTIONS, *image.shape), generator=generator(seed, key, "derivative")
        )
        for key, image in zip(batch.keys, batch.images, strict=True)
    ]
    signs = (2.0 * torch.stack(drawn, dim=1) - 1).to(batch.images)
    return list(signs)


@torch.no_grad()
def _change(subject: Subject, batch: Batch, centre: Images, step: Images) -> PerImage:
    """Half the difference of the margin between both sides; in it, curvature cancels."""
    ahead, behind = subject.logits(batch, centre + step), subject.logits(batch, centre - step)
    # Of the difference, because the margin is linear and its mean would round away what is small.
    change: PerImage = LOSSES["margin"](ahead - behind, batch.masks) / 2
    return change
