"""The race of losses: who gets how many steps, which images leave, and what comes back."""

import pytest
import torch
from torch.testing import assert_close

from palpate.attacks import LOSSES, ZeroGradientWarning, apgd, ensemble
from palpate.attacks.gradient.ensemble import ENSEMBLE_LOSSES, PRESETS, plan_rounds
from palpate.attacks.losses import bce, margin
from palpate.overlap import count, dice
from palpate.randomness import generator

from .test_pgd import Counting

EPSILON = 0.1  # enough to turn some pixels of the small network


def dsc(logits, masks):
    return dice(count(logits > 0, masks))


def healing(logits, masks):
    """Leads back to the truth."""
    return -bce(logits, masks)


def flat(logits, masks):
    del masks
    return 0 * logits.mean((1, 2, 3))


def steps_of(rounds):
    return [(each.kept, each.steps) for each in rounds]


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("quick", [(4, 6), (2, 12), (1, 72)]),
        ("standard", [(4, 20), (2, 40), (1, 240)]),
        ("full", [(4, 60), (2, 120), (1, 240), (1, 240), (1, 240)]),
    ],
)
def test_presets_divide_their_steps_as_documented(preset, expected):
    rounds = plan_rounds(PRESETS[preset], len(ENSEMBLE_LOSSES))
    assert steps_of(rounds) == expected
    assert sum(each.kept * each.steps for each in rounds) == PRESETS[preset]


def test_the_losses_are_known_by_name():
    assert set(ENSEMBLE_LOSSES) <= set(LOSSES.values())


@pytest.mark.parametrize("losses", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("steps", [7, 8, 19, 40, 1000])
def test_every_loss_has_its_turn_and_no_step_is_taken_twice(losses, steps):
    rounds = plan_rounds(steps, losses)
    assert rounds[0].kept == losses
    assert all(each.steps >= 1 for each in rounds)
    assert 0 <= steps - sum(each.kept * each.steps for each in rounds) < len(rounds) + losses


def test_costs_what_is_documented(model, images, masks):
    counting = Counting(model)
    ensemble(counting, images, masks, epsilon=1e-6, steps=120, early_stop=False)
    assert sum(counting.backwards) == 120 * len(images)
    assert sum(counting.forwards) == 134 * len(images)


def test_first_round_is_apgd_with_each_loss_and_the_worst_comes_back(net, images, masks):
    losses = (bce, margin)
    together = ensemble(
        net, images, masks, epsilon=EPSILON, steps=2, losses=losses, generator=generator(0)
    )
    source, runs = generator(0), []
    for loss in losses:  # each run draws its start, one after the other
        runs.append(apgd(net, images, masks, epsilon=EPSILON, steps=1, loss=loss, generator=source))
    scores = torch.stack([dsc(net(run), masks) for run in runs])
    assert torch.equal(dsc(net(together), masks), scores.amin(0))


def test_a_loss_that_does_harm_wins_the_remaining_steps(net, images, masks):
    asked = {"healing": 0, "bce": 0}

    def counted(name, loss):
        def value(logits, masks):
            asked[name] += len(logits) if logits.requires_grad else 0
            return loss(logits, masks)

        return value

    losses = [counted("healing", healing), counted("bce", bce)]
    options = {"epsilon": 0.3, "steps": 20, "early_stop": False}
    found = ensemble(net, images, masks, losses=losses, generator=generator(0), **options)
    assert asked == {"healing": 2 * 4, "bce": 18 * 4}
    assert (dsc(net(found), masks) < dsc(net(images), masks)).all()


def test_finished_images_leave(model, images):
    masks = model(images) > -100
    counting = Counting(model)
    found = ensemble(counting, images, masks, epsilon=0.5, steps=100)
    assert (dsc(model(found), masks) == 0).all()
    assert sum(counting.backwards) < 40 * len(images)


def test_images_whose_last_run_gained_nothing_get_no_restart(model, images, masks):
    """In a ball this small no run lowers the score, so the second and third long run are saved."""
    counting = Counting(model)
    options = {"epsilon": 1e-6, "steps": 720, "losses": [bce], "early_stop": False}
    assert steps_of(plan_rounds(720, 1)) == [(1, 240)] * 3
    ensemble(counting, images, masks, **options)
    assert sum(counting.backwards) in (240 * len(images), 480 * len(images))


def test_each_image_is_attacked_as_if_it_were_alone(net, images, masks):
    net, images = net.double(), images.double()
    options = {"epsilon": 0.05, "steps": 24}
    together = ensemble(
        net, images, masks, generator=[generator(0, i) for i in range(4)], **options
    )
    for i in range(4):
        here = slice(i, i + 1)
        alone = ensemble(net, images[here], masks[here], generator=[generator(0, i)], **options)
        assert_close((together - images)[here], alone - images[here], rtol=0, atol=1e-6)


def test_names_a_loss_that_is_flat(net, images, masks):
    with pytest.warns(ZeroGradientWarning, match="gradient of flat was zero .* 4 of 4 images"):
        ensemble(net, images, masks, epsilon=EPSILON, steps=8, losses=[bce, flat])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3}, "at least 4 steps, one for each loss, got 3"),
        ({"losses": []}, "at least one loss, got none"),
        ({"preset": "long"}, "preset 'quick', 'standard' or 'full', got 'long'"),
    ],
)
def test_refuses_senseless_settings(options, message, net, images, masks):
    with pytest.raises(ValueError, match=message):
        ensemble(net, images, masks, epsilon=EPSILON, **options)
