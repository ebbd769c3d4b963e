"""Checks 9, 10 and 11 of the sanity card: convergence, gradients and saturation."""

from collections.abc import Sequence

import torch
from torch import Tensor

from palpate.attacks import LOSSES
from palpate.data.sample import Batch
from palpate.evaluation.sanity.check import Check, conclude, grade, worst
from palpate.evaluation.sanity.subject import Subject, mean_dsc
from palpate.types import Images, Loss

_SATURATED = 16.6  # log(2 ** 24): beyond it the sigmoid is exactly 0 or 1 in single precision
_SLIGHT = 1e-12  # gradients of at most this length count as zero: they underflow when scaled


def has_converged(subject: Subject) -> Check:
    """Check 9: the loss increases, and twice as many steps do little more damage."""
    results, curve = subject.attacked
    more = subject.pgd(epsilon=subject.epsilon, steps=2 * subject.steps)
    gain = mean_dsc(results) - mean_dsc(more)
    rise = max(curve) - curve[0]
    last_quarter = curve[-1] - curve[-1 - max(1, len(curve) // 4)]
    status = grade(gain, warn_above=0.05, fail_above=0.15)
    return conclude(
        9,
        status if rise > 0 else "fail",
        f"In {subject.steps} steps the loss went from {curve[0]:.4g} to {curve[-1]:.4g}, "
        f"{last_quarter:+.3g} of it in the last quarter; {2 * subject.steps} steps "
        + (
            f"lower the mean DSC by another {gain:.3f}." if gain >= 0.0005 else "do no more damage."
        ),
        good="The attack climbs, and more of it finds little more.",
        doubtful="The attack is still finding damage: report more steps or restarts.",
        bad="The attack does not climb, or is far from done: its numbers overstate robustness.",
    )


def has_gradient(subject: Subject) -> Check:
    """Check 10: the gradient of the loss is finite, not zero, and reaches the pixels."""
    loss = LOSSES["bce_dice"]
    gradients = [gradient_at(subject, batch, batch.images, loss) for batch in subject.batches]
    lengths = _lengths(gradients)
    zeros = torch.cat([(gradient == 0).all(1).flatten(1).float().mean(1) for gradient in gradients])
    dead = int((~(lengths > _SLIGHT)).sum())  # negated, so that NaN counts as well
    broken = dead > 0 or not lengths.isfinite().all()
    return conclude(
        10,
        "fail" if broken else grade(zeros.mean().item(), warn_above=0.1, fail_above=0.9),
        f"Length of the gradient {lengths.min():.3g} to {lengths.max():.3g}; "
        f"{100 * zeros.mean():.3g} % of the pixels have none; {dead} of {len(lengths)} images "
        "have none at all or NaN.",
        good="Every image has a gradient that reaches its pixels.",
        doubtful="A part of the pixels has no gradient and is never attacked: look for rounding, "
        "clipping and saturation.",
        bad="There is no gradient to follow, so gradient attacks do nothing here and what looks "
        "like robustness is not: look for rounding, saturation, NaN or no_grad in the model.",
    )


def hides_nothing(subject: Subject) -> Check:
    """Check 11: the margin, which does not saturate, does no more damage than the default loss."""
    results, _ = subject.attacked
    margin = subject.attacked_on_margin
    gap = mean_dsc(results) - mean_dsc(margin)
    saturated = _share_of_saturated_pixels(subject)
    statuses = (
        grade(gap, warn_above=0.05, fail_above=0.15),
        grade(saturated, warn_above=0.25, fail_above=1.0),
    )
    return conclude(
        11,
        worst(statuses),
        f"Mean DSC {mean_dsc(results):.3f} under the default loss and {mean_dsc(margin):.3f} under "
        f"the margin; {100 * saturated:.3g} % of the pixels have a saturated sigmoid.",
        good="The default loss sees all that a loss on bare logits sees.",
        doubtful="A loss on bare logits finds more: attack with loss=margin as well, and report "
        "the worst of both.",
        bad="A loss on bare logits does much more damage than the default one, which the sigmoid "
        "flattens where the model is sure: the default loss alone makes the model look more robust "
        "than it is. Attack with loss=margin as well, and report the worst of both.",
    )


def count_without(subject: Subject, loss: Loss) -> int:
    """Count the images for which the gradient of the loss is zero or NaN.

    Raises:
        RuntimeError: If autograd finds no path from the logits to the pixels.
    """
    gradients = [gradient_at(subject, batch, batch.images, loss) for batch in subject.batches]
    return int((~(_lengths(gradients) > _SLIGHT)).sum())


def _lengths(gradients: Sequence[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten(1).norm(dim=1) for gradient in gradients])


def gradient_at(subject: Subject, batch: Batch, images: Images, loss: Loss) -> Images:
    """Gradient of the loss of each image, at ``images`` instead of those of the batch.

    Raises:
        RuntimeError: If autograd finds no path from the logits to the pixels.
    """
    with torch.enable_grad():
        images = images.detach().clone().requires_grad_()
        harm = loss(subject.logits(batch, images), batch.masks).sum()
        if not harm.requires_grad:
            raise RuntimeError("The logits do not depend on the pixels as far as autograd can see.")
        (gradient,) = torch.autograd.grad(harm, images, allow_unused=True)
    return torch.zeros_like(images) if gradient is None else gradient


def _share_of_saturated_pixels(subject: Subject) -> float:
    with torch.no_grad():
        logits = [subject.logits(batch, batch.images).flatten() for batch in subject.batches]
    return (torch.cat(logits).abs() > _SATURATED).float().mean().item()
