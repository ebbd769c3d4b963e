"""The study's attacks against an independent transcription, and its switches one by one."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from palpate.attacks import pgd, probability_loss, published_noise, published_pgd
from palpate.attacks.losses import bce_dice

STD = (0.2, 0.25, 0.4)
SCALE = torch.tensor(STD).view(1, 3, 1, 1)
MEAN = torch.tensor((0.5, 0.4, 0.3)).view(1, 3, 1, 1)
ALPHA = 2 / 255


class Normalised:
    """The model as the study calls it: on images that are normalised already."""

    def __init__(self, net):
        self.net = net

    def __call__(self, normalised):
        return self.net(normalised * SCALE + MEAN)


def transcribed(net, images, masks, epsilon, steps, step):
    """In normalised space, as published: no random start, no clamp, the last iterate."""
    clean = (images - MEAN) / SCALE
    moved = clean
    for _ in range(steps):
        moved = moved.clone().requires_grad_()
        p, y = Normalised(net)(moved).sigmoid(), masks.float()
        # One image a batch, as published; so each is reduced by itself.
        inter, total = (p * y).flatten(1).sum(1), (p + y).flatten(1).sum(1)
        dice = 1 - (2 * inter + 1e-5) / (total + 1e-5)
        entropy = -(y * p.sigmoid().log() + (1 - y) * (1 - p.sigmoid()).log())
        loss = (1.5 * dice + entropy.flatten(1).mean(1)).sum()
        (gradient,) = torch.autograd.grad(loss, moved)
        delta = (moved + step * gradient.sign() - clean).clamp(-epsilon, epsilon)
        moved = (clean + delta).detach()
    return moved * SCALE + MEAN


@pytest.mark.parametrize("epsilon", [0.01, 0.03, 0.1, 0.5])
@pytest.mark.parametrize(("steps", "step"), [(1, None), (5, ALPHA)])
def test_equals_the_published_procedure(epsilon, steps, step, net, images, masks):
    found = published_pgd(net, images, masks, epsilon=epsilon, steps=steps, step_size=step, std=STD)
    expected = transcribed(net, images, masks, epsilon, steps, epsilon if step is None else step)
    assert_close(found, expected, rtol=0, atol=2e-6)


def test_channels_have_radii_of_their_own_and_pixels_leave_the_range(net, images, masks):
    bright = images.clamp_min(0.9)
    found = published_pgd(net, bright, masks, epsilon=0.5, steps=1, step_size=None, std=STD)
    reach = (found - bright).abs().amax((0, 2, 3))
    assert_close(reach, 0.5 * torch.tensor(STD))
    assert found.max() > 1


def test_the_study_cannot_reach_half(net, images, masks):
    """Forty steps of 2/255 end at 0.3137 however large the ball."""
    found = published_pgd(net, images, masks, epsilon=0.5, steps=40, std=STD)
    assert ((found - images) / SCALE).abs().max() <= 40 * ALPHA + 1e-5


def test_with_every_switch_thrown_it_is_pgd(net, images, masks):
    sound = partial(pgd, epsilon=8 / 255, steps=5, loss=bce_dice)
    switched = partial(
        published_pgd, epsilon=8 / 255, steps=5, step_size=None, norm="linf", clamp=True,
        random_start=True, keep="dice", loss=bce_dice,
    )  # fmt: skip
    ours, theirs = (
        attack(net, images, masks, generator=torch.Generator().manual_seed(0))
        for attack in (sound, switched)
    )
    assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_grey_values_of_masks_enter_the_loss(net, images, masks):
    grey = masks.float() * 0.6 + 0.2
    hard, soft = (
        published_pgd(net, images, masks, epsilon=0.1, steps=3, std=STD, truth=truth)
        for truth in (masks.float(), grey)
    )
    assert not torch.equal(hard, soft)
    plain = published_pgd(net, images, masks, epsilon=0.1, steps=3, std=STD)
    assert torch.equal(hard, plain)


def test_probabilities_for_logits_bound_the_cross_entropy():
    """Per pixel between softplus(-1) = 0.313 and softplus(1) = 1.313."""
    logits = torch.tensor([1e4, -1e4]).view(1, 1, 1, 2).repeat(2, 1, 1, 1)
    right = torch.tensor([True, False]).view(1, 1, 1, 2)
    masks = torch.cat([right, ~right])
    values = probability_loss(logits, masks)
    low, high = 0.5 * (0.31326 + 0.69315), 1.5 + 0.5 * (1.31326 + 0.69315)
    assert_close(values, torch.tensor([low, high]), rtol=1e-3, atol=1e-3)
    assert values.min() >= 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "l2"}, "Expected norm 'normalised' or 'linf'"),
        ({"std": (0.2, 0.2)}, "3 positive standard deviations"),
        ({"std": (0.2, 0.0, 0.2)}, "3 positive standard deviations"),
        ({"steps": 0}, "steps >= 1"),
        ({"keep": "loss"}, "keep 'last' or 'dice', got 'loss'"),
        ({"epsilon": -0.1}, "epsilon >= 0"),
    ],
)
def test_settings_that_cannot_be(changes, message, net, images, masks, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        published_pgd(net, images, masks, **({"epsilon": 0.1, "steps": 2, "std": STD} | changes))


@pytest.mark.parametrize("attack", [partial(published_pgd, steps=2), published_noise])
def test_a_normalised_radius_may_be_larger_than_1(attack, net, images, masks):
    wide = attack(net, images, masks, epsilon=1.5, std=STD, **large_steps(attack))
    assert_close((wide - images).abs().amax((0, 2, 3)), 1.5 * SCALE.flatten())
    with pytest.raises(ValueError, match=r"epsilon <= 1, got 1\.5"):
        attack(net, images, masks, epsilon=1.5, norm="linf")
    for senseless in (-0.1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="finite epsilon >= 0, got"):
            attack(net, images, masks, epsilon=senseless)


def large_steps(attack):
    return {} if attack is published_noise else {"step_size": 1.5}


def test_one_step_is_fgsm_only_where_it_is_as_long_as_the_radius(net, images, masks):
    press = partial(published_pgd, net, images, masks, epsilon=0.3, steps=1, std=STD)
    assert_close((press(step_size=None) - images).abs().amax((0, 2, 3)), 0.3 * SCALE.flatten())
    assert_close((press() - images).abs().amax((0, 2, 3)), ALPHA * SCALE.flatten())
