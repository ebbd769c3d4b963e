"""Confined to a threat model, the best attack on a linear pixel classifier is known too."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch.testing import assert_close

from palpate.attacks import fgsm, pgd
from palpate.attacks.losses import margin
from palpate.attacks.threats import LowFrequency

EPSILON, LENGTH = 8 / 255, 0.3


def push(model, masks):
    """Gradient of the margin, up to a factor."""
    return torch.where(masks, -1.0, 1.0) * model.conv.weight.detach().view(1, 3, 1, 1)


def unit(delta):
    return delta / delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


ATTACKS = {"fgsm": fgsm, "pgd": partial(pgd, steps=20, keep="loss", random_start=False)}
both = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


@both
def test_tied_channels_move_by_the_sign_of_their_sum(attack, model, images, masks):
    best = EPSILON * push(model, masks).sum(1, keepdim=True).sign().expand_as(images)
    found = attack(model, images, masks, epsilon=EPSILON, within="tied", loss=margin)
    assert_close(found - images, best, rtol=0, atol=1e-6)


@both
def test_tied_channels_in_l2(attack, model, images, masks):
    best = LENGTH * unit(push(model, masks).sum(1, keepdim=True).expand_as(images))
    found = attack(model, images, masks, epsilon=LENGTH, norm="l2", within="tied", loss=margin)
    assert_close(found - images, best, rtol=0, atol=1e-6)


@both
def test_low_frequencies_in_l2_are_those_of_the_gradient(attack, model, images, masks):
    gradient = push(model, masks)
    best = LENGTH * unit(LowFrequency(0.2).project(gradient, masks))
    press = partial(attack, model, images, masks, loss=margin, within={"low_frequency": 0.2})
    assert_close(press(epsilon=LENGTH, norm="l2") - images, best, rtol=0, atol=1e-6)


@both
def test_the_lowest_frequency_alone_is_brightness(attack, model, images, masks):
    best = EPSILON * push(model, masks).mean((2, 3), keepdim=True).sign().expand_as(images)
    press = partial(attack, model, images, masks, loss=margin, within={"low_frequency": 1e-3})
    assert_close(press(epsilon=EPSILON) - images, best, rtol=0, atol=1e-6)


@both
def test_inside_and_outside_are_the_two_parts_of_the_whole(attack, model, images, masks):
    press = partial(attack, model, images, masks, epsilon=EPSILON, loss=margin)
    whole, inside, outside = (press(within=w) - images for w in ("anywhere", "inside", "outside"))
    assert_close(inside + outside, whole, rtol=0, atol=1e-6)


@both
def test_the_lattice_reaches_the_corner_of_the_cube(attack, model, images, masks):
    images = (images * 255).round() / 255
    press = partial(attack, model, images, masks, epsilon=EPSILON, loss=margin)
    assert_close(press(within="lattice"), press(), rtol=0, atol=2e-7)


@pytest.mark.parametrize("seed", range(3))
def test_slow_waves_in_the_cube_come_near_the_linear_programme(seed):
    """No closed form: the optimum is found by SciPy. Clipping and filtering in turn, without the
    rounds of :meth:`Threat.confine`, reaches 0.7 to 0.8 of it."""
    weights = torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(seed)).double()
    masks = torch.zeros(1, 1, 12, 12, dtype=torch.bool)
    images = torch.full((1, 1, 12, 12), 0.5, dtype=torch.float64)
    found = pgd(
        lambda x: x * weights,
        images,
        masks,
        epsilon=EPSILON,
        loss=margin,
        keep="loss",
        within={"low_frequency": 0.15},
    )
    points = torch.eye(144, dtype=torch.float64).view(144, 1, 12, 12)
    waves = LowFrequency(0.15).project(points, masks.expand(144, -1, -1, -1)).flatten(1).numpy()
    basis = np.linalg.svd(waves)[0][:, :25]  # five frequencies along each side
    slopes = basis.T @ weights.flatten().numpy()
    limits = np.full(288, EPSILON)
    optimum = linprog(-slopes, np.vstack([basis, -basis]), limits, bounds=(None, None))
    assert ((found - images) * weights).sum().item() > -0.92 * optimum.fun
