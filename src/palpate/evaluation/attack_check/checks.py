"""Is an attack fit to be believed? What ``palpate attacks check`` finds out.

An attack whose images depend on their neighbours in a batch, that draws numbers nobody can draw
again, or that leaves gradients behind gives numbers that nobody can repeat. Everything is tried on
a small network in double precision, where rounding decides nothing.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from math import isfinite

import torch

from palpate.attacks import UnbrokenWarning
from palpate.checks import CheckResult, Status
from palpate.evaluation.attack_check.toy_model import COUNT, Exam, exam_of
from palpate.evaluation.conditions import Trial
from palpate.overlap import count, dice
from palpate.types import Images
from palpate.user_code import said

_SAME = 1e-4  # of the change: what rounding in double precision may do
_LEAST = 1e-9  # a change below it is none


def examine_attack(trial: Trial) -> list[CheckResult]:
    """Try an attack out; what cannot be carried out has failed.

    Args:
        trial: The attack and its strength, as :func:`palpate.evaluation.conditions.plan` makes it.
    """
    exam = exam_of(trial)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnbrokenWarning)  # whether it breaks these is no matter
        return [_carried_out(name, step, exam) for name, step in CHECKS.items()]


def _answer(exam: Exam) -> tuple[Status, str]:
    adversarial = exam.run()
    lengths, trial = exam.lengths(adversarial), exam.trial
    allowed = f" of {trial.epsilon:.4g}" if isfinite(trial.epsilon) else ""
    return "pass", (
        f"Distances {lengths.min():.4g} to {lengths.max():.4g}{allowed} ({trial.norm}), values "
        f"{adversarial.min():.3g} to {adversarial.max():.3g}."
    )


def _harm(exam: Exam) -> tuple[Status, str]:
    adversarial = exam.run()
    if adversarial.equal(exam.images):
        return "warn", "No image was changed."
    rise = exam.loss(adversarial) - exam.loss(exam.images)
    with torch.no_grad():
        scores = dice(count(exam.net(adversarial) > 0, exam.masks))
    control = exam.noise(exam.lengths(adversarial).max().item())
    seen = (
        f"DSC from 1 to {scores.mean():.3g}; the loss rises by {rise.mean():.3g}, and by "
        f"{(exam.loss(control) - exam.loss(exam.images)).mean():.3g} under noise of the same size."
    )
    stronger = (exam.loss(adversarial) > exam.loss(control)).all()
    return "pass" if stronger else "warn", seen


def _reproducible(exam: Exam) -> tuple[Status, str]:
    first = exam.run()
    torch.rand(1)  # whatever was drawn in between
    gap = (exam.run() - first).abs().max().item()
    if gap == 0:
        return "pass", "The same generators give the same images."
    return "fail", (
        f"The same generators give images that differ by {gap:.3g}; draw from the argument "
        "`generator`, a torch.Generator for each image."
    )


def _alone(exam: Exam) -> tuple[Status, str]:
    together = exam.run()
    alone = torch.cat([exam.run(rows=[row]) for row in range(COUNT)])
    return _alike(exam, together, alone, "alone and in a batch")


def _neighbours(exam: Exam) -> tuple[Status, str]:
    other = exam.images.clone()
    other[1:] = other[1:].flip(0)
    return _alike(exam, exam.run()[:1], exam.run(other)[:1], "beside other images")


def _left_alone(exam: Exam) -> tuple[Status, str]:
    net, clean, state = exam.net, exam.images.clone(), torch.get_rng_state()
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    net.layers[0].train()  # whatever the mode is, it is the caller's business
    try:
        exam.run()
        changed = [
            *(name for name, value in net.state_dict().items() if not value.equal(weights[name])),
            *(f"gradient of {name}" for name, p in net.named_parameters() if p.grad is not None),
            *(f"{name} is frozen" for name, p in net.named_parameters() if not p.requires_grad),
            *["mode"] * ([layer.training for layer in net.layers] != [True, False, False]),
            *["images"] * (not exam.images.equal(clean)),
            *["torch's random numbers"] * (not torch.get_rng_state().equal(state)),
        ]
    finally:
        net.eval().requires_grad_().zero_grad()
    if changed:
        return "fail", f"Changed: {', '.join(changed[:5])}."
    return "pass", "Weights, gradients, mode, images and torch's random numbers are as they were."


def _precision(exam: Exam) -> tuple[Status, str]:
    try:
        single = replace(exam, net=exam.net.float(), images=exam.images.float())
        kind = getattr(single.raw(range(COUNT)), "dtype", None)
    finally:
        exam.net.double()
    return "pass" if kind == torch.float32 else "fail", f"Images of torch.float32 give {kind}."


def _without_gradients(exam: Exam) -> tuple[Status, str]:
    with torch.no_grad():
        gap = (exam.run() - exam.run()).abs().max().item()
        inside = exam.run()
    gap = max(gap, (inside - exam.run()).abs().max().item())
    return "pass" if gap == 0 else "fail", f"Under torch.no_grad() images differ by {gap:.3g}."


def _radius_zero(exam: Exam) -> tuple[Status, str]:
    radius = replace(exam.trial, epsilon=0.0)
    gap = (replace(exam, trial=radius).run() - exam.images).abs().max().item()
    return "pass" if gap == 0 else "fail", f"With epsilon 0 images move by {gap:.3g}."


CHECKS: dict[str, Callable[[Exam], tuple[Status, str]]] = {
    "in the ball and the range": _answer,
    "does harm": _harm,
    "reproducible": _reproducible,
    "alone as in a batch": _alone,
    "blind to its neighbours": _neighbours,
    "leaves no trace": _left_alone,
    "keeps the type": _precision,
    "works where gradients are off": _without_gradients,
    "epsilon 0 is no attack": _radius_zero,
}


def _carried_out(name: str, step: Callable[[Exam], tuple[Status, str]], exam: Exam) -> CheckResult:
    try:
        return CheckResult(name, *step(exam))
    except ValueError as error:
        return CheckResult(name, "fail", str(error))
    except Exception as error:  # an attack under test may raise anything
        return CheckResult(name, "fail", said(error))


def _alike(exam: Exam, images: Images, others: Images, where: str) -> tuple[Status, str]:
    """Of an attack whose largest change is the measure of what rounding may do."""
    change = max((images - exam.images[: len(images)]).abs().max().item(), _LEAST)
    share = (images - others).abs().max().item() / change
    seen = f"What an image gets {where} differs by {100 * share:.3g} % of the change."
    return "pass" if share <= _SAME else "fail", seen
