"""Checks of an attack against the contract that evaluation relies on: ``palpate attacks check``.

Results cannot be reproduced if the result for an image depends on the other images of the batch,
if the attack draws random numbers from other sources than its generators, or if it leaves gradients
behind. The checks run on a small model in double precision, so that rounding does not matter.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from math import isfinite

import torch

from palpate.attacks import UnbrokenWarning
from palpate.checks import CheckResult, Status
from palpate.evaluation.attack_check.toy_model import COUNT, ToyProblem, toy_problem
from palpate.evaluation.image_attacks import AttackAtRadius
from palpate.overlap import count, dice
from palpate.types import Images
from palpate.user_code import said

_SAME = 1e-4  # tolerance relative to the change of the image; covers rounding in double precision
_LEAST = 1e-9  # smaller changes count as no change


def check_attack(attack: AttackAtRadius) -> list[CheckResult]:
    """Run all checks of an attack; a check that raises an error counts as failed.

    Args:
        attack: From :func:`palpate.evaluation.image_attacks.at_radii`.
    """
    problem = toy_problem(attack)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnbrokenWarning)  # the attack need not succeed here
        return [_carried_out(name, step, problem) for name, step in CHECKS.items()]


def _answer(problem: ToyProblem) -> tuple[Status, str]:
    adversarial = problem.run()
    lengths, attack = problem.lengths(adversarial), problem.attack
    allowed = f" of {attack.epsilon:.4g}" if isfinite(attack.epsilon) else ""
    return "pass", (
        f"Distances {lengths.min():.4g} to {lengths.max():.4g}{allowed} ({attack.norm}), values "
        f"{adversarial.min():.3g} to {adversarial.max():.3g}."
    )


def _harm(problem: ToyProblem) -> tuple[Status, str]:
    adversarial = problem.run()
    if adversarial.equal(problem.images):
        return "warn", "No image was changed."
    rise = problem.loss(adversarial) - problem.loss(problem.images)
    with torch.no_grad():
        scores = dice(count(problem.net(adversarial) > 0, problem.masks))
    control = problem.noise(problem.lengths(adversarial).max().item())
    rise_by_noise = problem.loss(control) - problem.loss(problem.images)
    seen = (
        f"DSC from 1 to {scores.mean():.3g}; the loss rises by {rise.mean():.3g}, and by "
        f"{rise_by_noise.mean():.3g} under noise of the same size."
    )
    stronger = (problem.loss(adversarial) > problem.loss(control)).all()
    return "pass" if stronger else "warn", seen


def _reproducible(problem: ToyProblem) -> tuple[Status, str]:
    first = problem.run()
    torch.rand(1)  # changes the global random state, which the attack must not use
    gap = (problem.run() - first).abs().max().item()
    if gap == 0:
        return "pass", "The same generators give the same images."
    return "fail", (
        f"The same generators give images that differ by {gap:.3g}; draw from the argument "
        "`generator`, a torch.Generator for each image."
    )


def _alone(problem: ToyProblem) -> tuple[Status, str]:
    together = problem.run()
    alone = torch.cat([problem.run(rows=[row]) for row in range(COUNT)])
    return _alike(problem, together, alone, "computed alone and in a batch")


def _neighbours(problem: ToyProblem) -> tuple[Status, str]:
    other = problem.images.clone()
    other[1:] = other[1:].flip(0)
    return _alike(
        problem, problem.run()[:1], problem.run(other)[:1], "computed beside other images"
    )


def _left_alone(problem: ToyProblem) -> tuple[Status, str]:
    net, clean, state = problem.net, problem.images.clone(), torch.get_rng_state()
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    net.layers[0].train()  # a mixed mode, which the attack must restore exactly
    try:
        problem.run()
        changed = [
            *(name for name, value in net.state_dict().items() if not value.equal(weights[name])),
            *(f"gradient of {name}" for name, p in net.named_parameters() if p.grad is not None),
            *(f"{name} is frozen" for name, p in net.named_parameters() if not p.requires_grad),
            *["mode"] * ([layer.training for layer in net.layers] != [True, False, False]),
            *["images"] * (not problem.images.equal(clean)),
            *["torch's random state"] * (not torch.get_rng_state().equal(state)),
        ]
    finally:
        net.eval().requires_grad_().zero_grad()
    if changed:
        return "fail", f"Changed: {', '.join(changed[:5])}."
    return "pass", "Weights, gradients, mode, images and torch's random state are unchanged."


def _precision(problem: ToyProblem) -> tuple[Status, str]:
    try:
        single = replace(problem, net=problem.net.float(), images=problem.images.float())
        kind = getattr(single.raw(range(COUNT)), "dtype", None)
    finally:
        problem.net.double()
    return (
        "pass" if kind == torch.float32 else "fail",
        f"For images of torch.float32 the attack returns {kind}.",
    )


def _without_gradients(problem: ToyProblem) -> tuple[Status, str]:
    with torch.no_grad():
        gap = (problem.run() - problem.run()).abs().max().item()
        inside = problem.run()
    gap = max(gap, (inside - problem.run()).abs().max().item())
    return "pass" if gap == 0 else "fail", f"Under torch.no_grad() images differ by {gap:.3g}."


def _radius_zero(problem: ToyProblem) -> tuple[Status, str]:
    radius = replace(problem.attack, epsilon=0.0)
    gap = (replace(problem, attack=radius).run() - problem.images).abs().max().item()
    return "pass" if gap == 0 else "fail", f"With epsilon 0 images move by {gap:.3g}."


CHECKS: dict[str, Callable[[ToyProblem], tuple[Status, str]]] = {
    "inside the ball and [0, 1]": _answer,
    "does harm": _harm,
    "reproducible": _reproducible,
    "alone as in a batch": _alone,
    "independent of other images": _neighbours,
    "restores the model": _left_alone,
    "keeps the dtype": _precision,
    "works under torch.no_grad": _without_gradients,
    "epsilon 0 changes nothing": _radius_zero,
}


def _carried_out(
    name: str, step: Callable[[ToyProblem], tuple[Status, str]], problem: ToyProblem
) -> CheckResult:
    try:
        return CheckResult(name, *step(problem))
    except ValueError as error:
        return CheckResult(name, "fail", str(error))
    except Exception as error:  # an attack under test may raise anything
        return CheckResult(name, "fail", said(error))


def _alike(problem: ToyProblem, images: Images, others: Images, where: str) -> tuple[Status, str]:
    """Compare images with others, relative to the largest change that the attack made."""
    change = max((images - problem.images[: len(images)]).abs().max().item(), _LEAST)
    share = (images - others).abs().max().item() / change
    seen = f"The adversarial image {where} differs by {100 * share:.3g} % of the perturbation."
    return "pass" if share <= _SAME else "fail", seen
