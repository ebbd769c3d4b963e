"""The ensemble: its phases, its runs, and that it is as strong as the strongest of them."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from palpate.attacks import LOSSES, apgd, sea
from palpate.attacks.gradient.sea import PRESETS, SEA_LOSSES
from palpate.attacks.losses import MaskedBCE, MaskedMargin, SegPGD, bce, jensen_shannon, margin
from palpate.geometry import norms, perturb, project, random_in_ball
from palpate.overlap import count, dice
from palpate.randomness import generator

from .test_pgd import Bound, Counting, Prompted

EPSILON = 4 / 255


def dsc(logits, masks):
    return dice(count(logits > 0, masks))


def wrong(logits, masks):
    return ((logits > 0) != masks).flatten(1).float().mean(1)


def healing(logits, masks):
    """Leads back to the truth."""
    return -bce(logits, masks)


class Watched(torch.nn.Module):
    """Keeps every point it is shown."""

    def __init__(self, net) -> None:
        super().__init__()
        self.net, self.points = net, []

    def forward(self, images):
        self.points.append(images.detach().clone())
        return self.net(images)


def test_the_losses_and_the_presets_are_those_of_the_paper():
    assert (MaskedBCE(), SegPGD(), jensen_shannon, MaskedMargin()) == SEA_LOSSES
    assert set(SEA_LOSSES) <= set(LOSSES.values())
    assert PRESETS == {"quick": 30, "standard": 100, "full": 300}


@pytest.mark.parametrize(("preset", "steps"), PRESETS.items())
def test_a_preset_is_a_number_of_steps_per_loss(preset, steps, model, images, masks):
    counting = Counting(model)
    sea(counting, images, masks, epsilon=EPSILON, preset=preset, losses=[bce], early_stop=False)
    assert len(counting.backwards) == steps
    assert len(counting.forwards) == steps + 4
    sea(counting, images, masks, epsilon=EPSILON, losses=[bce, margin], steps=7, early_stop=False)
    assert len(counting.backwards) == steps + 14


@pytest.mark.parametrize(("steps", "more"), [(1, 2), (3, 2), (4, 4), (9, 4)])
def test_a_run_too_short_for_three_phases_costs_two_passes_less(steps, more, model, images, masks):
    counting = Counting(model)
    sea(counting, images, masks, epsilon=EPSILON, steps=steps, losses=[bce], early_stop=False)
    assert len(counting.backwards) == steps
    assert len(counting.forwards) == steps + more


@pytest.mark.parametrize("targeted", [False, True])
def test_is_as_strong_as_each_of_its_runs(targeted, net, images, masks):
    attack = partial(sea, net, images, masks, epsilon=EPSILON, steps=10, targeted=targeted)
    runs = []
    for i, loss in enumerate(SEA_LOSSES):
        source = generator(0)
        for _ in range(i):  # what the runs before have drawn
            random_in_ball(images, EPSILON, "linf", source)
        runs.append(attack(losses=[loss], generator=source, early_stop=False))
    together = attack(generator=generator(0), early_stop=False)
    sign = -1 if targeted else 1
    for image in range(4):
        ranks = [
            (-sign * dsc(net(x), masks)[image].item(), sign * wrong(net(x), masks)[image].item())
            for x in runs
        ]
        assert torch.equal(together[image], runs[ranks.index(max(ranks))][image])
    assert len({tuple(run[0].flatten().tolist()) for run in runs}) == 4


@pytest.mark.parametrize("losses", [[bce, healing], [healing, bce]])
@pytest.mark.parametrize("targeted", [False, True])
def test_between_runs_of_one_score_the_wrong_pixels_decide(targeted, losses, model, images, masks):
    images, masks = images[1:3], masks[1:3]  # in which some is found, and not all
    nothing = torch.zeros_like(masks)  # DSC 0 if anything is found
    attack = partial(sea, model, images, nothing, epsilon=0.02, steps=6, targeted=targeted)
    found, clean = (
        wrong(model(x), nothing) for x in (attack(losses=losses, generator=generator(0)), images)
    )
    assert (found < clean).all() if targeted else (found > clean).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_phases_close_in_on_the_ball(norm, net, images, masks):
    epsilon = EPSILON if norm == "linf" else 0.3
    watched = Watched(net)
    sea(watched, images, masks, epsilon=epsilon, steps=20, norm=norm, losses=[bce])
    lengths = [norms(x - images, norm).max().item() / epsilon for x in watched.points]
    phases = lengths[:7], lengths[7:14], lengths[14:23], lengths[23:]
    assert [len(phase) for phase in phases] == [7, 7, 9, 1]  # 6, 6 and 8 steps; the last look
    assert [max(phase) for phase in phases] == pytest.approx([2, 1.5, 1, 1], rel=1e-5)


def test_each_phase_starts_from_the_worst_point_of_the_one_before(net, images, masks):
    watched = Watched(net)
    sea(watched, images, masks, epsilon=EPSILON, steps=20, losses=[bce])
    points = watched.points
    for candidates, radius, start in (
        (points[1:7], 1.5 * EPSILON, points[7]),  # a random point is no candidate
        (points[7:14], EPSILON, points[14]),  # but one that was led to is
    ):
        scores, values = ([f(net(x), masks) for x in candidates] for f in (dsc, bce))
        for i in range(4):
            ranks = [(-d[i].item(), v[i].item()) for d, v in zip(scores, values, strict=True)]
            best = candidates[ranks.index(max(ranks))][i]
            delta = project((best - images[i])[None], radius, "linf")
            assert_close(start[i : i + 1], perturb(images[i : i + 1], delta), rtol=0, atol=1e-7)


def test_the_start_of_a_later_phase_may_be_its_worst_point(model, images, masks):
    images, masks = images[1:3], masks[1:3]

    def turns_round(logits, masks, calls=[]):  # noqa: B006
        calls.append(None)
        return bce(logits, masks) if len(calls) <= 7 else healing(logits, masks)

    watched = Watched(model)
    sea(watched, images, masks, epsilon=0.02, steps=20, losses=[turns_round])
    start, later = watched.points[7], watched.points[14]
    assert (dsc(model(start), masks) < dsc(model(watched.points[13]), masks)).all()
    assert_close(later - images, (start - images).clamp(-0.02, 0.02))


def test_with_one_phase_it_is_apgd_from_another_start(net, images, masks):
    """Too few steps for a third of them; in L-inf the start is then clipped into the ball."""
    watched = Watched(net)
    sea(watched, images, masks, epsilon=EPSILON, steps=3, losses=[bce], generator=generator(0))
    drawn = random_in_ball(images, 2 * EPSILON, "linf", generator(0))
    assert_close(watched.points[0], images + drawn.clamp(-EPSILON, EPSILON))
    assert len(watched.points) == 5


def test_finished_images_are_left_alone_by_the_runs_that_follow(model, images):
    masks = model(images) > -100
    masks[3] = False  # one stray pixel is DSC 0 already, so this one goes on
    counting = Counting(model)
    attack = partial(sea, images=images, masks=masks, epsilon=0.3, steps=10)
    stopping = attack(counting, generator=generator(0))
    assert (dsc(model(stopping), masks) == 0).all()
    assert counting.forwards[:8] == [4] * 8  # the phases in the larger balls go on
    assert set(counting.forwards[-14:]) == {1}
    going = attack(model, generator=generator(0), early_stop=False)
    assert_close(dsc(model(stopping), masks), dsc(model(going), masks), rtol=0, atol=0)


def test_where_all_have_finished_no_further_run_is_made(model, images):
    counting = Counting(model)
    masks = model(images) > -100
    found = sea(counting, images, masks, epsilon=0.5, steps=10)
    assert (dsc(model(found), masks) == 0).all()
    assert len(counting.forwards) <= 14


@pytest.mark.parametrize("bind", [lambda m, p: partial(m, prompts=p), Bound])
def test_prompts_stay_with_their_images_when_others_finish(bind, net, images):
    net, images = net.double(), images.double()
    prompts = ["-9", "9", "-20", "0"]
    masks = net(images) > 0
    settings = {"epsilon": 0.1, "steps": 6, "losses": SEA_LOSSES[:2]}
    together = sea(
        bind(Prompted(net), prompts),
        images,
        masks,
        generator=[generator(0, i) for i in range(4)],
        **settings,
    )
    for i in range(4):
        here = slice(i, i + 1)
        model = bind(Prompted(net), prompts[here])
        alone = sea(model, images[here], masks[here], generator=[generator(0, i)], **settings)
        assert_close((together - images)[here], alone - images[here], rtol=0, atol=1e-5)


def test_explains_which_phase_of_which_loss_broke(model, images, masks):
    def broken(logits, masks):
        return logits.mean((1, 2, 3)) * float("nan")

    with pytest.raises(FloatingPointError, match="after 0 of 3 steps of phase 1 with broken"):
        sea(model, images, masks, epsilon=EPSILON, steps=10, losses=[bce, broken])


def test_explains_a_model_without_a_path_to_the_pixels(model, images, masks):
    with pytest.raises(RuntimeError, match="back to the pixels"):
        sea(lambda x: model(x).detach(), images, masks, epsilon=EPSILON, steps=4)


def test_harms_at_least_as_much_as_adaptive_attacks_of_the_same_steps(net, images, masks):
    """On a net this small only equality of the mean can be asked for, with some room."""
    ensemble = dsc(net(sea(net, images, masks, epsilon=EPSILON, steps=20)), masks)
    single = dsc(net(apgd(net, images, masks, epsilon=EPSILON, steps=20)), masks)
    assert ensemble.mean() <= single.mean() + 0.01
