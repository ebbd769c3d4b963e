"""MedIS in its right form: what it gives back, by fusion, whatever goes at once."""

from functools import partial
from itertools import pairwise

import jaxtyping
import pytest
import torch
from torch.testing import assert_close

from palpate import overlap as metrics
from palpate.attacks import LOSSES, MEDIS_LOSSES, ZeroGradientWarning, medis
from palpate.attacks.losses import SegPGD, bce, margin
from palpate.attacks.medis.medis import losses_by_name
from palpate.attacks.medis.parallel_losses import fewest_steps, run_losses
from palpate.attacks.medis.success_rules import success_rules
from palpate.overlap import count, dice

from .textures import Textures

EPSILON = 10 / 255


def test_a_dice_score_on_the_threshold_meets_it_as_everywhere():
    """In single precision 2 / 10 is more than 0.2."""
    for true, wrong in ((1, 8), (3, 4), (7, 6), (0, 0), (0, 3)):
        masks, logits = torch.zeros(2, 1, 1, 30) > 0, torch.full((2, 1, 1, 30), -1.0)
        masks[0, ..., : true + wrong // 2], logits[0, ..., :true] = True, 1.0
        logits[0, ..., 20 : 20 + wrong - wrong // 2] = 1.0
        whole = 2 * true + wrong
        tau = 2 * true / whole if whole else 1.0
        predicted = dice(count(logits > 0, masks))
        for targeted in (False, True):
            judged = success_rules(targeted=targeted, epsilon=0.1, criterion="dice", success=tau)
            won = judged.succeeds(judged.score(logits, masks))
            assert won.tolist() == (predicted >= tau if targeted else predicted <= tau).tolist()
            assert won[0]


@pytest.fixture
def net():
    return Textures().eval()


@pytest.fixture
def images():
    """Of ever more contrast, so that ever more steps are needed."""
    noise = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(5))
    return 0.5 + torch.tensor([0.05, 0.1, 0.2, 0.9]).view(-1, 1, 1, 1) * (noise - 0.5)


@pytest.fixture
def masks(net, images):
    """Right predictions but for a few pixels, so that something is there to attack."""
    wrong = torch.rand(4, 1, 12, 12, generator=torch.Generator().manual_seed(6)) < 0.05
    with torch.no_grad():
        return (net(images) > 0) ^ wrong


@pytest.fixture
def without_shape_checks():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def every_run(net, images, masks, losses=MEDIS_LOSSES, **settings):
    given = {"targeted": False, "epsilon": EPSILON}
    copies = settings.pop("copies", None)
    judged = success_rules(**given | settings)
    named = losses_by_name(losses)
    return run_losses(net, images, [masks] * len(named), named, judged, copies=copies), judged


def miou(net, images, masks):
    with torch.no_grad():
        return metrics.miou(metrics.count(net(images) > 0, masks))


def test_each_score_is_that_of_the_point_after_so_many_updates(net, images, masks):
    (run,), _ = every_run(net, images, masks, ["bce"], success=0.0)
    here = images
    for step in range(11):
        assert_close(run.scores[:, step], miou(net, here, masks).double())
        here = here.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(bce(net(here), masks).sum(), here)
        here = (here + gradient.sign() / 255).clamp(0, 1)


def test_what_comes_back_shows_what_is_said_of_it(net, images, masks):
    for targeted, aims in ((False, masks), (True, masks.flip(3))):
        runs, judged = every_run(net, images, aims, targeted=targeted)
        for run in runs:
            assert_close(miou(net, run.images, aims).double(), run.credit, rtol=0, atol=0.02)
            assert torch.equal(run.success, judged.succeeds(run.credit))
            distance = (run.images - images).abs().amax((1, 2, 3)) * 255
            assert (distance <= run.steps + 1e-3).all()
            for i in range(4):
                told = run.scores[i, : run.steps[i] + 1]
                assert told[-1] == run.credit[i]
                if run.success[i]:  # and not before, but for the clean image
                    assert not judged.succeeds(told[1:-1]).any()


def test_fusion_succeeds_wherever_a_loss_does_and_in_the_fewest_steps(net, images, masks):
    runs, judged = every_run(net, images, masks)
    winners = fewest_steps(runs, judged)
    success = torch.stack([run.success for run in runs])
    steps = torch.stack([run.steps for run in runs])
    assert success.any(1).any()
    for i, place in enumerate(winners):
        assert success[place, i] == success[:, i].any()
        if success[place, i]:
            assert steps[place, i] == steps[success[:, i], i].min()
            rivals = [r for r in runs if r.success[i] and r.steps[i] == steps[place, i]]
            assert runs[place].credit[i] == min(r.credit[i] for r in rivals)
        else:
            assert runs[place].credit[i] == min(run.credit[i] for run in runs)
    assert len(steps[success].unique()) > 1


def test_the_attack_gives_back_what_fusion_of_finished_runs_would(net, images, masks):
    runs, judged = every_run(net, images, masks)
    adversarial = medis(net, images, masks)
    for i, place in enumerate(fewest_steps(runs, judged)):
        assert_close(adversarial[i] - images[i], runs[place].images[i] - images[i])


def test_ties_go_to_the_better_score_then_to_the_first(net, images, masks):
    def alike(logits, truth):
        return bce(logits, truth)

    (one, other, weak), judged = every_run(net, images, masks, ["bce", alike, "margin"])
    assert fewest_steps([one, other], judged) == [0] * 4
    assert fewest_steps([other, one], judged) == [0] * 4
    tied = [i for i in range(4) if one.success[i] and weak.success[i]]
    tied = [i for i in tied if one.steps[i] == weak.steps[i] and one.credit[i] != weak.credit[i]]
    for order in ([one, weak], [weak, one]):
        winners = fewest_steps(order, judged)
        for i in tied:
            assert order[winners[i]].credit[i] == min(one.credit[i], weak.credit[i])


@pytest.mark.parametrize("copies", [1, 2, 4])
def test_how_many_go_at_once_changes_nothing(copies, net, images, masks):
    for settings in ({}, {"targeted": True}, {"targeted": True, "faithful": True}):
        together = medis(net, images, masks.flip(2), **settings) - images
        apart = medis(net, images, masks.flip(2), copies=copies, **settings) - images
        assert_close(apart, together, rtol=0, atol=1e-6)


def test_prompts_are_repeated_with_the_images(net, images, masks):
    def prompted(images, prompts):
        assert len(images) == len(prompts)
        signs = torch.tensor([1.0 if p == "light" else -1.0 for p in prompts])
        return net(images) * signs.view(-1, 1, 1, 1)

    prompts = ("light", "dark", "dark", "light")
    truth = masks ^ torch.tensor([False, True, True, False]).view(-1, 1, 1, 1)
    adversarial = medis(partial(prompted, prompts=prompts), images, truth)
    for rows, sign in (([0, 3], 1), ([1, 2], -1)):
        alone = medis(lambda x, sign=sign: sign * net(x), images[rows], truth[rows])
        assert_close(adversarial[rows] - images[rows], alone - images[rows], rtol=0, atol=1e-6)


def test_losses_that_change_on_the_way_are_climbed_as_they_change(net, images, masks):
    (alone,), _ = every_run(net, images, masks, ["segpgd"], success=0.0)
    runs, _ = every_run(net, images, masks, ["bce", SegPGD(), "margin"], success=0.0)
    assert_close(runs[1].images - images, alone.images - images, rtol=0, atol=1e-6)
    (plain,), _ = every_run(net, images, masks, ["bce"], success=0.0)
    assert not torch.equal(plain.images, alone.images)


def test_more_losses_never_need_more_steps(net, images, masks):
    def steps_of(names):
        runs, judged = every_run(net, images, masks, names)
        places = fewest_steps(runs, judged)
        picked = [runs[place] for place in places]
        won = [bool(run.success[i]) for i, run in enumerate(picked)]
        taken = (int(run.steps[i]) for i, run in enumerate(picked))
        return [s if w else 99 for s, w in zip(taken, won, strict=True)]

    lists = [steps_of(MEDIS_LOSSES[:n]) for n in range(1, 7)]
    for few, many in pairwise(lists):
        assert all(b <= a for a, b in zip(few, many, strict=True))


def test_dice_is_a_criterion_too(net, images, masks):
    (run,), judged = every_run(net, images, masks, ["bce_dice"], criterion="dice", success=0.7)
    scores = metrics.dice(metrics.count(net(run.images) > 0, masks)).double()
    assert torch.equal(judged.succeeds(scores), run.success)
    assert run.success.any()


def test_right_and_published_losses_go_by_the_same_names():
    right, published = losses_by_name(MEDIS_LOSSES), losses_by_name(MEDIS_LOSSES, faithful=True)
    assert list(right) == list(published) == list(MEDIS_LOSSES)
    for name in MEDIS_LOSSES:
        assert right[name] is LOSSES[name]
        notebook = LOSSES["notebook_" + name.removeprefix("medis_")]
        assert published[name] is notebook
    assert list(losses_by_name([margin, "bce"])) == ["margin", "bce"]


def test_images_whose_mask_is_the_target_are_left_alone(net, images, masks):
    target = masks[1:2]
    adversarial = medis(net, images, masks, target=target)
    moved = (adversarial != images).flatten(1).any(1)
    assert moved.tolist() == [True, False, True, True]
    expected = medis(net, images[2:], target.expand(2, -1, -1, -1), targeted=True)
    assert_close(adversarial[2:] - images[2:], expected - images[2:], rtol=0, atol=1e-6)


def test_a_small_ball_is_not_left(net, images, masks):
    for faithful in (False, True):
        adversarial = medis(net, images, masks, epsilon=2.5 / 255, faithful=faithful, success=0.0)
        distance = (adversarial - images).abs().amax()
        assert distance == pytest.approx(2.5 / 255, abs=1e-6)
        assert distance <= 2.5 / 255 * (1 + 1e-6)


def test_warns_where_no_loss_had_a_direction(net, images, masks):
    def flat(logits, truth):
        return 0 * logits.mean((1, 2, 3))

    with pytest.warns(ZeroGradientWarning, match="for 4 of 4 images"):
        medis(net, images, masks, losses=[flat])
    medis(net, images, masks, losses=[flat], success=1.0)  # succeeds all the same
    medis(net, images, masks, losses=[flat, "bce"], success=0.0)  # fails, but not for that


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epsilon": -0.1}, "epsilon >= 0, got -0.1"),
        ({"steps": 0}, "steps >= 1"),
        ({"step_size": 0.0}, "step_size > 0"),
        ({"copies": 0}, "copies >= 1, got 0"),
        ({"losses": []}, "at least one, got"),
        ({"losses": "bce"}, "sequence of losses"),
        ({"losses": ["bec"]}, "no loss 'bec'; expected one of bce, dice"),
        ({"losses": ["bce", bce]}, "different names, got bce, bce"),
        ({"criterion": "iou"}, "'miou' or 'dice', got 'iou'"),
        (
            {"criterion": "dice", "faithful": True},
            "criterion 'miou' with faithful=True.*got 'dice'",
        ),
        ({"success": 1.5}, r"in \[0, 1\], got 1.5"),
        ({"targeted": True, "target": "white"}, "got both"),
        ({"losses": [lambda z, _: z.mean()]}, r"loss of shape \(4,\), one value per image, got"),
        (
            {"losses": ["bce", lambda z, _: z.mean()]},
            r"shape \(4,\), one value per image, got \(\)",
        ),
    ],
)
def test_rejects_what_makes_no_sense(wrong, message, net, images, masks, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        medis(net, images, masks, **wrong)


def test_a_run_must_not_end_before_it_succeeds():
    with pytest.raises(ValueError, match=r"stop to be at most success, 0.5, got 0.6"):
        success_rules(targeted=False, epsilon=EPSILON, stop=0.6)
    with pytest.raises(ValueError, match=r"stop to be at least success, 0.45, got 0.4"):
        success_rules(targeted=True, epsilon=EPSILON, stop=0.4)


def test_names_broken_images_by_their_place_in_the_batch(net, images, masks):
    def breaks(logits, truth):
        return torch.where(torch.arange(4) == 2, torch.nan, logits.mean((1, 2, 3)))

    with pytest.raises(FloatingPointError, match=r"images \[2\] of the batch after 0 of 10 steps"):
        medis(net, images, masks, losses=["bce", breaks])


def test_too_little_memory_halves_the_copies_and_changes_nothing(net, images, masks):
    tried = []

    def cramped(x):
        tried.append(len(x))
        if len(x) > 8:
            raise torch.cuda.OutOfMemoryError
        return net(x)

    expected = medis(net, images, masks)
    assert_close(medis(cramped, images, masks), expected)
    assert tried[:3] == [24, 12, 4]  # six losses, three, one
    with pytest.raises(torch.cuda.OutOfMemoryError):
        medis(lambda x: cramped(torch.cat([x] * 9)), images, masks)
