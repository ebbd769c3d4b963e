"""The schedule of APGD, and that every image has its own."""

from fractions import Fraction
from functools import partial
from itertools import pairwise
from math import ceil

import pytest
import torch
from torch.testing import assert_close

from palpate.attacks import apgd
from palpate.attacks.gradient import apgd_step as _adaptive
from palpate.attacks.gradient.apgd_step import _State, place_checkpoints
from palpate.attacks.losses import bce, bce_dice, margin
from palpate.attacks.threats import Threat
from palpate.geometry import norms
from palpate.overlap import count, dice
from palpate.randomness import generator

from .test_pgd import Bound, Counting, Prompted


def dsc(logits, masks):
    return dice(count(logits > 0, masks))


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 30, 40, 50, 90, 100, 120, 300, 1000])
def test_checkpoints_follow_the_published_rule(steps):
    """p0 = 0, p1 = 0.22, p(j+1) = pj + max(pj - p(j-1) - 0.03, 0.06), at the ceiling of pj N."""
    p = [Fraction(0), Fraction(22, 100)]
    while p[-1] <= 1:
        p.append(p[-1] + max(p[-1] - p[-2] - Fraction(3, 100), Fraction(6, 100)))
    expected = sorted({ceil(share * steps) for share in p[1:-1]})
    found = place_checkpoints(steps)
    assert list(found) == expected
    assert list(found.values()) == [b - a for a, b in zip([0, *expected], expected, strict=False)]


def climb(**known):
    """Four images in the middle of a climb, told apart by what ``known`` says."""
    where = torch.arange(4.0).view(4, 1, 1, 1)
    usual = {
        "before": where, "here": where + 10, "gradient": where + 20, "harm": torch.zeros(4),
        "size": torch.ones(4), "top": where + 30, "top_gradient": where + 40,
        "top_harm": torch.full((4,), 5.0), "rises": torch.full((4,), 8.0),
        "top_harm_before": torch.full((4,), 4.0), "halved": torch.zeros(4, dtype=torch.bool),
    }  # fmt: skip
    return _State(**(usual | {k: torch.tensor(v) for k, v in known.items()}))


def test_an_image_halves_its_step_where_too_few_steps_were_of_use():
    state = climb(rises=[5.0, 6.0, 0.0, 8.0])
    state.revise(8)
    assert state.halved.tolist() == [True, False, True, False]  # 6 of 8 are three quarters
    assert state.size.tolist() == [0.5, 1, 0.5, 1]
    assert state.here.flatten().tolist() == [30, 11, 32, 13]  # and goes back to its best point
    assert state.gradient.flatten().tolist() == [40, 21, 42, 23]
    assert state.harm.tolist() == [5, 0, 5, 0]
    assert state.before.flatten().tolist() == [0, 1, 2, 3]
    assert not state.rises.any()


def test_an_image_halves_its_step_where_neither_step_nor_best_loss_has_changed():
    state = climb(top_harm_before=[5.0, 5.0, 4.0, 4.0], halved=[False, True, False, True])
    state.revise(8)
    assert state.size.tolist() == [0.5, 1, 1, 1]
    assert state.top_harm_before.tolist() == [5] * 4
    state.rises = torch.full((4,), 8.0)
    state.revise(8)
    assert state.size.tolist() == [0.5, 0.5, 0.5, 0.5]


def test_arriving_keeps_the_best_point_and_counts_the_rises():
    state = climb(harm=[0.0, 1.0, 2.0, 5.0], top_harm=[1.0, 1.0, 4.0, 5.0])
    there = torch.full((4, 1, 1, 1), 50.0)
    state.arrive(there, there + 1, torch.tensor([2.0, 1.0, 3.0, 4.0]))
    assert state.rises.tolist() == [9, 8, 9, 8]
    assert state.top.flatten().tolist() == [50, 31, 32, 33]
    assert state.top_gradient.flatten().tolist() == [51, 41, 42, 43]
    assert state.top_harm.tolist() == [2, 1, 4, 5]
    assert state.before.flatten().tolist() == [10, 11, 12, 13]


def test_a_move_is_three_quarters_of_a_step_and_a_quarter_of_the_last_move():
    images = torch.full((1, 1, 1, 2), 0.5)
    move = partial(_State.move, images=images, masks=images > 0, norm="linf", threat=Threat())
    state = _State.begin(images, torch.tensor([1.0, -2.0]).view(1, 1, 1, 2), torch.zeros(1), 0.04)
    first = move(state, epsilon=0.1, share=1.0)
    assert_close((first - images).flatten(), torch.tensor([0.04, -0.04]))
    state.arrive(first, -state.gradient, torch.zeros(1))
    second = move(state, epsilon=0.1, share=0.75)
    assert_close((second - first).flatten(), torch.tensor([-0.02, 0.02]))  # -0.03 + 0.01
    state.arrive(second, state.gradient * -1, torch.zeros(1))
    third = move(state, epsilon=0.03, share=0.75)  # in a smaller ball: two projections
    assert_close((third - images).flatten(), torch.tensor([0.0225, -0.0225]))


@pytest.fixture
def sizes(monkeypatch):
    """Step sizes at every move, one row per move."""
    seen, move = [], _State.move

    def spy(self, *args):
        seen.append(self.size.tolist())
        return move(self, *args)

    monkeypatch.setattr(_State, "move", spy)
    return seen


@pytest.mark.parametrize(("norm", "targeted"), [("linf", False), ("l2", True)])
def test_every_image_has_a_schedule_of_its_own(norm, targeted, sizes, net, images, masks):
    net, images = net.double(), images.double()
    epsilon = 0.1 if norm == "linf" else 2.0
    attack = partial(apgd, epsilon=epsilon, steps=40, norm=norm, targeted=targeted)
    together = attack(net, images, masks, generator=[generator(0, i) for i in range(4)])
    schedules = list(zip(*sizes, strict=True))
    assert len(set(schedules)) > 1  # or nothing would be shown
    for i in range(4):
        sizes.clear()
        here = slice(i, i + 1)
        alone = attack(net, images[here], masks[here], generator=[generator(0, i)])
        assert tuple(size for (size,) in sizes) == schedules[i]
        assert_close(together[here], alone, rtol=0, atol=1e-9)


def test_the_first_step_crosses_the_ball_and_steps_only_get_shorter(sizes, net, images, masks):
    apgd(net, images, masks, epsilon=0.05, steps=30)
    assert sizes[0] == pytest.approx([0.1] * 4)
    for earlier, later in pairwise(sizes):
        assert all(b in (a, a / 2) for a, b in zip(earlier, later, strict=True))
    assert min(sizes[-1]) < 0.1
    changes = {n for n in range(1, 30) if sizes[n] != sizes[n - 1]}
    assert changes <= set(place_checkpoints(30))


def test_the_lowest_dice_score_comes_back_on_the_way_the_loss_leads(net, images, masks):
    attack = partial(apgd, net, images, masks, epsilon=0.05, steps=25, loss=margin)
    by_score, by_loss = (attack(keep=k, generator=generator(0)) for k in ("dice", "loss"))
    assert (dsc(net(by_score), masks) <= dsc(net(by_loss), masks)).all()
    assert (margin(net(by_score), masks) <= margin(net(by_loss), masks)).all()
    assert not torch.equal(by_score, by_loss)


def test_the_start_is_no_candidate(model, images, masks):
    images, masks = images[1:3], masks[1:3]
    heals = partial(apgd, model, images, masks, epsilon=0.05, steps=4, random_start=False)
    found = heals(loss=lambda z, m: -bce(z, m))
    # The clean image is the worst there is on this way, and still not what comes back.
    assert (dsc(model(found), masks) > dsc(model(images), masks)).all()


def test_finds_more_than_as_many_steps_of_fixed_length(net, images, masks):
    from palpate.attacks import pgd

    settings = {"epsilon": 0.3, "norm": "l2", "steps": 40, "loss": bce, "keep": "loss"}
    adaptive, fixed = (
        bce(net(attack(net, images, masks, generator=generator(0), **settings)), masks)
        for attack in (apgd, partial(pgd, step_size=0.3))
    )
    assert (adaptive > fixed - 1e-4).all()


def test_restarts_keep_the_best_of_separate_runs(net, images, masks):
    attack = partial(apgd, net, images, masks, epsilon=4 / 255, steps=5, loss=bce_dice)
    source = generator(0)
    runs = [attack(generator=source) for _ in range(3)]
    best = attack(restarts=3, generator=generator(0))
    for i in range(4):
        ranks = [(-dsc(net(r), masks)[i].item(), bce_dice(net(r), masks)[i].item()) for r in runs]
        assert torch.equal(best[i], runs[ranks.index(max(ranks))][i])


def test_n_steps_cost_n_backward_and_one_more_forward_passes(net, images, masks):
    model = Counting(net)
    apgd(model, images, masks, epsilon=1 / 255, steps=9, restarts=2)
    assert model.forwards == [4] * 20
    assert model.backwards == [4] * 18
    assert model.traced == [*[True] * 9, False] * 2


@pytest.mark.parametrize("targeted", [False, True])
def test_stopping_early_saves_passes_and_changes_no_score(targeted, model, images):
    masks = model(images) > 0
    masks = model(images + 0.05) > 0 if targeted else masks
    attack = partial(apgd, epsilon=0.3, steps=20, restarts=2, targeted=targeted, loss=bce)
    scores, costs = [], []
    for early_stop in (False, True):
        counting = Counting(model)
        random = [generator(0, i) for i in range(4)]
        found = attack(counting, images, masks, early_stop=early_stop, generator=random)
        scores.append(dsc(model(found), masks))
        costs.append(sum(counting.forwards))
    assert_close(*scores, rtol=0, atol=0)
    assert (scores[0] == (1 if targeted else 0)).any()
    assert costs[1] < costs[0]


@pytest.mark.parametrize("bind", [lambda m, p: partial(m, prompts=p), Bound])
def test_prompts_stay_with_their_images_when_others_finish(bind, net, images):
    net, images = net.double(), images.double()
    prompts = ["-9", "9", "-20", "0"]  # with 9 added to its logits the second never falls
    masks = net(images) > 0
    settings = {"epsilon": 0.1, "steps": 12, "restarts": 2, "early_stop": True}
    together = apgd(
        bind(Prompted(net), prompts),
        images,
        masks,
        generator=[generator(0, i) for i in range(4)],
        **settings,
    )
    for i in range(4):
        here = slice(i, i + 1)
        model = bind(Prompted(net), prompts[here])
        alone = apgd(model, images[here], masks[here], generator=[generator(0, i)], **settings)
        assert_close((together - images)[here], alone - images[here], rtol=0, atol=1e-5)


def test_no_point_leaves_the_ball_or_the_pixel_range(net, masks):
    images = torch.rand(4, 3, 8, 8, generator=generator(1)).round()
    for norm, epsilon in (("linf", 0.1), ("l2", 1.0)):
        seen = []

        def model(x, seen=seen):
            seen.append(x.detach())
            return net(x)

        apgd(model, images, masks, epsilon=epsilon, steps=15, norm=norm)
        assert max(norms(x - images, norm).max().item() for x in seen) <= epsilon * (1 + 1e-6)
        assert all(x.min() >= 0 and x.max() <= 1 for x in seen)


def test_the_way_is_laid_out_over_all_steps():
    assert set(place_checkpoints(30)) & set(place_checkpoints(60)) != set(place_checkpoints(30))
    assert _adaptive._MOMENTUM == _adaptive._ENOUGH == 0.75
