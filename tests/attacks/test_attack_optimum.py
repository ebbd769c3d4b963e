"""On a linear pixel classifier the best attack is known exactly."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from palpate.attacks import LOSSES, apgd, fgsm, noise, pgd, sea
from palpate.attacks.losses import bce_dice, margin
from palpate.randomness import generator

EPSILON = 8 / 255

# Losses by the pixels they push: all at every step, all in the course of an attack, or only
# those that are still right.
PUSHING = [
    "bce",
    "dice",
    "bce_dice",
    "margin",
    "cospgd",
    "jensen_shannon",
    "tsallis",
    "structure",
    "log_cosh_dice",
    "exponential_log",
]
IN_THE_END = [*PUSHING, "segpgd"]
MASKED = ["masked_bce", "masked_margin"]


def push(model, masks):
    return torch.where(masks, -1.0, 1.0) * model.conv.weight.detach().view(1, 3, 1, 1)


@pytest.mark.parametrize("loss", PUSHING)
def test_one_linf_step_finds_the_corner(loss, model, images, masks):
    optimum = EPSILON * push(model, masks).sign()
    one_step = fgsm(model, images, masks, epsilon=EPSILON, loss=LOSSES[loss])
    assert_close(one_step - images, optimum, rtol=0, atol=1e-6)


@pytest.mark.parametrize("attack", [pgd, partial(apgd, steps=30)], ids=["pgd", "apgd"])
@pytest.mark.parametrize("loss", IN_THE_END)
def test_linf_attacks_find_the_corner(attack, loss, model, images, masks):
    optimum = EPSILON * push(model, masks).sign()
    many = attack(model, images, masks, epsilon=EPSILON, loss=LOSSES[loss], keep="loss")
    assert_close(many - images, optimum, rtol=0, atol=1e-6)


@pytest.mark.parametrize("attack", [pgd, partial(apgd, steps=30)], ids=["pgd", "apgd"])
@pytest.mark.parametrize("loss", MASKED)
def test_masked_losses_turn_every_pixel_that_can_be_turned(attack, loss, model, images, masks):
    corner = images + EPSILON * push(model, masks).sign()
    found = attack(model, images, masks, epsilon=EPSILON, loss=LOSSES[loss])
    assert torch.equal(model(found) > 0, model(corner) > 0)


def test_sea_does_as_much_harm_as_the_corner(model, images, masks):
    corner = images + EPSILON * push(model, masks).sign()
    attack = partial(sea, early_stop=False)  # it would stop at a Dice score of 0, false alarms left
    found = attack(model, images, masks, epsilon=EPSILON, steps=20, generator=generator(0))
    assert torch.equal(model(found) > 0, model(corner) > 0)


def test_l2_attacks_find_the_point_of_the_sphere(model, images, masks):
    gradient = push(model, masks)
    optimum = 0.3 * gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    one_step = fgsm(model, images, masks, epsilon=0.3, norm="l2", loss=margin)
    # Whatever is not along the gradient shrinks by epsilon / (epsilon + step_size) per step.
    slow = partial(pgd, epsilon=0.3, norm="l2", step_size=0.3, steps=30, keep="last")
    assert_close(one_step - images, optimum, rtol=0, atol=1e-6)
    many = slow(model, images, masks, loss=margin, generator=generator(0))
    assert_close(many - images, optimum, rtol=0, atol=1e-6)
    adaptive = partial(apgd, epsilon=0.3, norm="l2", steps=40, keep="loss", generator=generator(0))
    # By then its steps are short, and the value of the loss no longer tells points apart.
    assert_close(adaptive(model, images, masks, loss=margin) - images, optimum, rtol=0, atol=1e-4)


def test_a_target_of_the_opposite_mask_is_the_same_attack(model, images, masks):
    for attack in (fgsm, partial(pgd, steps=5, keep="loss", random_start=False)):
        towards = attack(model, images, ~masks, epsilon=EPSILON, targeted=True, loss=margin)
        away = attack(model, images, masks, epsilon=EPSILON, loss=margin)
        assert torch.equal(towards, away)


def test_pgd_of_one_step_from_the_clean_image_is_fgsm(net, images, masks):
    one = partial(pgd, steps=1, step_size=EPSILON, random_start=False)
    for norm in ("linf", "l2"):
        assert torch.equal(
            one(net, images, masks, epsilon=EPSILON, norm=norm),
            fgsm(net, images, masks, epsilon=EPSILON, norm=norm),
        )


def test_noise_harms_less_than_fgsm_and_fgsm_less_than_pgd(net, images, masks):
    attacks = {
        "noise": noise,
        "fgsm": partial(fgsm, loss=bce_dice),
        "pgd": partial(pgd, steps=20, keep="loss", loss=bce_dice),
    }
    harm = {
        name: bce_dice(
            net(attack(net, images, masks, epsilon=EPSILON, generator=generator(0))), masks
        )
        for name, attack in attacks.items()
    }
    assert (harm["noise"] < harm["fgsm"]).all()
    assert (harm["fgsm"] <= harm["pgd"]).all()


def test_noise_uses_its_whole_budget_in_both_directions(model, images, masks):
    for norm, epsilon in (("linf", EPSILON), ("l2", 0.3)):
        delta = noise(model, images, masks, epsilon=epsilon, norm=norm, generator=generator(0))
        delta = delta - images
        order = float("inf") if norm == "linf" else 2
        assert_close(delta.flatten(1).norm(order, dim=1), torch.full((4,), epsilon))
        assert (delta > 0).float().mean() == pytest.approx(0.5, abs=0.1)
    signs = noise(model, images, masks, epsilon=EPSILON, generator=generator(0)) - images
    assert_close(signs.abs(), torch.full_like(images, EPSILON), rtol=0, atol=1e-6)


def test_uniform_noise_fills_the_ball(model, images, masks):
    draw = partial(noise, spread="uniform", generator=generator(0))
    delta = draw(model, images, masks, epsilon=EPSILON) - images
    assert delta.abs().mean().item() == pytest.approx(EPSILON / 2, rel=0.1)
