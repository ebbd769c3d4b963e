"""Every fault of an attack is found by its check, and good attacks have none."""

from functools import partial

import pytest
import torch

from palpate.attacks import apgd, ddn, noise, pgd, square
from palpate.evaluation.attack_check.checks import CHECKS, check_attack
from palpate.evaluation.image_attacks import at_radii

EPSILON = 8 / 255


def examined(attack):
    (at_radius,) = at_radii({"mine": attack}, [EPSILON])[1:]
    return {finding.name: finding for finding in check_attack(at_radius)}


@pytest.mark.parametrize(
    "attack",
    [
        partial(pgd, steps=5),
        partial(apgd, steps=6, norm="l2"),
        partial(square, queries=60),
        pytest.param(partial(ddn, steps=20), marks=pytest.mark.slow),
    ],
    ids=["pgd", "apgd-l2", "square", "ddn"],
)
def test_sound_attacks_pass(attack):
    assert {f.status for f in examined(attack).values()} == {"pass"}


def test_noise_is_found_to_do_no_more_than_noise():
    found = examined(noise)
    assert [name for name, f in found.items() if f.status != "pass"] == ["does harm"]


def stepped(model, images, masks, epsilon):
    """A gradient step, for faults to be built on."""
    points = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(points)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, masks.to(logits))
        (gradient,) = torch.autograd.grad(loss, points)
    return (images + epsilon * gradient.sign()).clamp(0, 1).detach()


def unclamped(model, images, masks, *, epsilon):
    return images + epsilon * (stepped(model, images, masks, epsilon) - images).sign()


def too_far(model, images, masks, *, epsilon):
    return stepped(model, images, masks, 2 * epsilon)


def other_shape(model, images, masks, *, epsilon):
    return stepped(model, images, masks, epsilon)[:, :, 1:]


def not_a_number(model, images, masks, *, epsilon):
    return stepped(model, images, masks, epsilon) / 0 * 0


def descends(model, images, masks, *, epsilon):
    return 2 * images - stepped(model, images, masks, epsilon) if epsilon else images


def does_nothing(model, images, masks, *, epsilon):
    return images


def draws_from_torch(model, images, masks, *, epsilon):
    return (stepped(model, images, masks, epsilon / 2) + torch.rand(()) * epsilon / 2).clamp(0, 1)


def shares_its_step(model, images, masks, *, epsilon):
    points = images.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad((model(points) * (1 - 2.0 * masks)).sum(), points)
    return (images + epsilon * gradient / gradient.abs().max()).clamp(0, 1).detach()


def leaves_gradients(model, images, masks, *, epsilon):
    with torch.enable_grad():
        model(images).sum().backward()
    return stepped(model, images, masks, epsilon)


def freezes(model, images, masks, *, epsilon):
    model.requires_grad_(False)
    return stepped(model, images, masks, epsilon)


def sets_the_mode(model, images, masks, *, epsilon):
    model.eval()
    return stepped(model, images, masks, epsilon)


def doubles(model, images, masks, *, epsilon):
    return stepped(model.double(), images.double(), masks, epsilon)


def needs_gradients_on(model, images, masks, *, epsilon):
    points = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad((model(points) * (1 - 2.0 * masks)).sum(), points)
    return (images + epsilon * gradient.sign()).clamp(0, 1).detach()


def test_an_attack_may_need_gradients_on():
    with torch.no_grad():  # wherever it is called
        found = examined(needs_gradients_on)
    assert {f.status for f in found.values()} == {"pass"}


def has_a_least_step(model, images, masks, *, epsilon):
    return (images + max(epsilon, 1e-9) * images.sub(0.5).sign()).clamp(0, 1)


BROKEN = [
    (unclamped, "inside the ball and [0, 1]"),
    (too_far, "inside the ball and [0, 1]"),
    (other_shape, "inside the ball and [0, 1]"),
    (not_a_number, "inside the ball and [0, 1]"),
    (descends, "does harm"),
    (does_nothing, "does harm"),
    (draws_from_torch, "reproducible"),
    (draws_from_torch, "restores the model"),
    (shares_its_step, "alone as in a batch"),
    (shares_its_step, "independent of other images"),
    (leaves_gradients, "restores the model"),
    (freezes, "restores the model"),
    (sets_the_mode, "restores the model"),
    (doubles, "keeps the dtype"),
    (has_a_least_step, "epsilon 0 changes nothing"),
]


@pytest.mark.parametrize(("attack", "check"), BROKEN, ids=[f"{a.__name__}: {c}" for a, c in BROKEN])
def test_each_fault_is_found_by_its_check(attack, check):
    found = examined(attack)
    assert found.keys() == CHECKS.keys()
    assert found[check].status in ("warn", "fail")


@pytest.mark.parametrize("error", [KeyError, RuntimeError, AssertionError, ZeroDivisionError])
def test_whatever_an_attack_raises_is_a_finding(error):
    def stumbles(model, images, masks, *, epsilon):
        raise error("out")

    found = examined(stumbles)
    assert {f.status for f in found.values()} == {"fail"}
    assert found["does harm"].seen.startswith(f"{error.__name__}: ")
