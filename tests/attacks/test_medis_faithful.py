"""The notebooks' rules, written down once more, plainly and for one image at a time.

Everything here is NumPy or torch on a single two-dimensional map, without a line of palpate, so
that ``faithful=True`` is compared with the rules and not with itself.
"""

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from palpate.attacks import MEDIS_LOSSES, ZeroGradientWarning, medis
from palpate.attacks.medis.medis import losses_by_name
from palpate.attacks.medis.notebook_model import as_in_notebooks
from palpate.attacks.medis.parallel_losses import fewest_steps, run_losses
from palpate.attacks.medis.success_rules import success_rules
from palpate.attacks.medis.targets import target_masks
from palpate.prompting import Bound

from .textures import Textures

STEP = 0.003922
SIZE = 12


def stretched(model, image):
    found = model(image[None]).sigmoid()[0, 0]
    return (found - found.min()) / (found.max() - found.min() + 1e-8)


def mean_iou(prediction, truth):
    p, t = np.rint(prediction.detach().numpy()) == 1, truth.numpy() == 1
    ious = []
    for ours, theirs in ((p, t), (~p, ~t)):
        union = (ours | theirs).sum()
        if union:
            ious.append((ours & theirs).sum() / union)
    return round(float(np.mean(ious)), 3)


def structure_loss(p, t):
    p, t = p[None, None], t[None, None]
    weights = 1 + 5 * (F.avg_pool2d(t, 31, stride=1, padding=15) - t).abs()
    entropy = F.softplus(p) - p * t  # p for a logit
    entropy = (weights * entropy.mean()).sum() / weights.sum()
    q = torch.sigmoid(p)
    inside, outside = (q * t * weights).sum(), ((q + t) * weights).sum()
    return entropy + 1 - (inside + 1) / (outside - inside + 1)


def dice_score(p, t):
    return 2 * (p * t).sum() / (p.sum() + t.sum())


def entropy_of(p, t):
    return -(t * p.log().clamp_min(-100) + (1 - t) * (1 - p).log().clamp_min(-100)).mean()


def log_cosh_loss(p, t):
    return torch.log(torch.cosh(1 - dice_score(p, t)))


def bce_dice_loss(p, t):
    return F.binary_cross_entropy(p, t) + 1 - dice_score(p, t)


def exponential_loss(p, t):
    return (
        0.5 * torch.log(1 - dice_score(p, t)) ** 2
        + 0.5 * torch.log(F.binary_cross_entropy(p, t)) ** 2
    )


def lovasz_loss(p, t):
    """The map has no batch axis, so that its rows are taken for the images of a batch."""
    return torch.stack([lovasz_row(row, truth) for row, truth in zip(p, t, strict=True)]).mean()


def lovasz_row(p, t):
    errors, order = torch.sort(1 - p * (2 * t - 1), descending=True)
    t = t[order]
    jaccard = 1 - (t.sum() - t.cumsum(0)) / (t.sum() + (1 - t).cumsum(0))
    growth = torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
    return (errors.clamp_min(0) * growth).sum()


def mixed_loss(p, t):
    return (
        0.21 * structure_loss(p, t)
        + 0.18 * log_cosh_loss(p, t)
        + 0.20 * bce_dice_loss(p, t)
        + 0.15 * exponential_loss(p, t)
        + 0.26 * lovasz_loss(p, t)
    )


PLAIN = {
    "log_cosh_dice": log_cosh_loss,
    "bce_dice": bce_dice_loss,
    "exponential_log": exponential_loss,
    "structure": structure_loss,
    "lovasz_hinge": lovasz_loss,
    "medis_mix": mixed_loss,
}


def notebook_run(model, image, target, loss, *, targeted):
    """Recorded mIoU and loss of each step, and the image that each was recorded for."""
    image, records = image.clone(), []
    score = 0.0 if targeted else 1.0
    while len(records) < 10 and (score < 0.95 if targeted else score > 0.2):
        image.requires_grad_()
        p = stretched(model, image)
        score = mean_iou(p, target)
        value = loss(p, target)
        (gradient,) = torch.autograd.grad(value, image)
        image = image.detach()
        records.append((score, value.item(), image))
        direction = -gradient.sign() if targeted else gradient.sign()
        image = (image + STEP * direction).clamp(0, 1)
    return records


def notebook_success(records, *, targeted, doubled):
    """Step (from 1) and mIoU of the first success; None without one."""
    for step, (score, _, image) in enumerate(records, start=1):
        credit = 2 * score if doubled and score != 1 else score
        if credit >= 0.45 if targeted else credit <= 0.5:
            return step, credit, image
    return None


def notebook_fusion(successes, *, targeted):
    """Fewest steps, then the better mIoU."""
    found = [success for success in successes if success is not None]
    return min(found, key=lambda s: (s[0], -s[1] if targeted else s[1]), default=None)


@pytest.fixture
def scene():
    """Images of ever more contrast, the last at the ends of the range; one is lost already."""
    net = Textures().double().eval()
    random = torch.Generator().manual_seed(5)
    images = torch.rand(5, 3, SIZE, SIZE, dtype=torch.float64, generator=random)
    contrast = torch.tensor([0.05, 0.1, 0.1, 0.2, 1.0], dtype=torch.float64).view(-1, 1, 1, 1)
    images = 0.5 + contrast * (images - 0.5)
    errors = torch.tensor([0.02, 0.02, 0.45, 0.02, 0.02]).view(-1, 1, 1, 1)
    with torch.no_grad():
        right = stretched_batch(net, images) > 0.5
    masks = right ^ (torch.rand(5, 1, SIZE, SIZE, generator=random) < errors)
    return net, images, masks


def stretched_batch(net, images):
    return torch.stack([stretched(net, image)[None] for image in images])


# Each loss is quick with a target and without, and each target with three losses or more.
CASES = [
    pytest.param(loss, target, marks=[pytest.mark.slow] * (target == slow))
    for number, loss in enumerate(MEDIS_LOSSES)
    for slow in [("white", "black")[number % 2]]
    for target in ("none", "flipped", "white", "black")
]


@pytest.mark.filterwarnings("ignore::palpate.attacks.ZeroGradientWarning")
@pytest.mark.parametrize(("loss", "target"), CASES)
def test_every_step_is_that_of_the_notebooks(loss, target, scene):
    net, images, masks = scene
    targeted, doubled = target != "none", target in ("white", "black")
    aims = {
        "none": masks,
        "flipped": masks.flip(3),
        "white": torch.ones_like(masks),
        "black": torch.zeros_like(masks),
    }[target]
    judged = success_rules(targeted=targeted, epsilon=10 / 255, faithful=True, doubled=doubled)
    (run,) = run_losses(net, images, [aims], losses_by_name([loss], faithful=True), judged)
    for i in range(5):
        truth = aims[i, 0].double()
        records = notebook_run(net, images[i], truth, PLAIN[loss], targeted=targeted)
        n = len(records)
        assert run.scores[i, :n].tolist() == [score for score, _, _ in records]
        assert run.values[i, :n].tolist() == pytest.approx([v for _, v, _ in records], rel=1e-6)
        assert run.scores[i, n:].isnan().all()
        success = notebook_success(records, targeted=targeted, doubled=doubled)
        assert run.success[i] == (success is not None)
        if success is not None:
            step, credit, image = success
            assert (run.steps[i], run.credit[i]) == (step, credit)
            assert torch.equal(run.images[i], image)


def test_the_steps_compared_are_worth_comparing(scene):
    """Some succeed and some do not, some at once and some later, and some stop early."""
    net, images, masks = scene
    judged = success_rules(targeted=False, epsilon=10 / 255, faithful=True)
    named = losses_by_name(MEDIS_LOSSES, faithful=True)
    runs = run_losses(net, images, [masks] * 6, named, judged)
    steps = torch.stack([run.steps for run in runs])
    success = torch.stack([run.success for run in runs])
    assert success.any()
    assert not success.all()
    assert len(steps[success].unique()) > 1
    assert torch.stack([run.scores for run in runs]).isnan().any()


@pytest.mark.parametrize("targeted", [False, True])
def test_fusion_is_that_of_the_notebooks(targeted, scene):
    net, images, masks = scene
    names = MEDIS_LOSSES[:4]
    aims = masks.flip(3) if targeted else masks
    judged = success_rules(targeted=targeted, epsilon=10 / 255, faithful=True)
    runs = run_losses(net, images, [aims] * 4, losses_by_name(names, faithful=True), judged)
    winners = fewest_steps(runs, judged)
    adversarial = medis(net, images, aims, losses=names, faithful=True, targeted=targeted)
    for i, place in enumerate(winners):
        truth = aims[i, 0].double()
        records = [
            notebook_run(net, images[i], truth, PLAIN[name], targeted=targeted) for name in names
        ]
        successes = [notebook_success(r, targeted=targeted, doubled=False) for r in records]
        fused = notebook_fusion(successes, targeted=targeted)
        assert (fused is not None) == bool(runs[place].success[i])
        if fused is not None:
            assert (runs[place].steps[i], runs[place].credit[i]) == fused[:2]
            assert torch.equal(adversarial[i], fused[2])


def test_a_black_target_succeeds_without_an_attack_in_the_notebooks_only(net):
    images = torch.full((2, 3, SIZE, SIZE), 0.5)
    images[:, :, 5:7, 5:7] = 0.9  # a small lesion, found
    masks = torch.zeros(2, 1, SIZE, SIZE, dtype=torch.bool)
    masks[:, :, 5:7, 5:7] = True

    def finder(x):
        return 20 * (x.mean(1, keepdim=True) - 0.7)

    faithful = medis(finder, images, masks, target="black", faithful=True)
    assert torch.equal(faithful, images)
    right = medis(finder, images, masks, target="black")
    assert (right - images).abs().amax() > 0


def test_a_random_target_succeeds_without_an_attack_where_the_lesion_is_small():
    masks = torch.zeros(2, 1, 20, 20, dtype=torch.bool)
    masks[0, :, 2:6, 2:6] = masks[1, :, 12:16, 12:16] = True
    images = torch.where(masks, 0.9, 0.5).expand(2, 3, 20, 20)
    judged = success_rules(targeted=True, epsilon=10 / 255, faithful=True)
    named = losses_by_name(["bce_dice"], faithful=True)

    def finder(x):
        return 20 * (x.mean(1, keepdim=True) - 0.7)

    (run,) = run_losses(finder, images, [masks.flip(0)], named, judged)
    assert run.success.all()
    assert run.steps.tolist() == [1, 1]
    assert torch.equal(run.images, images)


def test_log_cosh_dice_does_not_move_towards_black_and_says_so(scene):
    net, images, masks = scene
    judged = success_rules(
        targeted=True, epsilon=10 / 255, faithful=True, doubled=True, success=1.0
    )
    named = losses_by_name(["log_cosh_dice"], faithful=True)
    (run,) = run_losses(net, images, [torch.zeros_like(masks)], named, judged)
    assert run.flat.all()
    assert torch.equal(run.images, images)
    with pytest.warns(ZeroGradientWarning, match="for 5 of 5 images"):
        medis(
            net,
            images,
            masks,
            target="black",
            losses=["log_cosh_dice"],
            faithful=True,
            success=1.0,
        )


def test_the_tenth_update_is_never_scored(scene):
    net, images, masks = scene
    for faithful, points in ((True, 10), (False, 11)):
        judged = success_rules(targeted=False, epsilon=10 / 255, faithful=faithful, success=0.0)
        (run,) = run_losses(
            net, images, [masks], losses_by_name(["bce_dice"], faithful=faithful), judged
        )
        assert run.scores.shape[1] == points
        farthest = (run.images - images).abs().amax().item()
        assert farthest <= (points - 1) * (STEP if faithful else 1 / 255) + 1e-9


def test_two_losses_are_inverted_or_weightless_as_published(scene):
    """Exponential-log in the notebooks goes back to the truth, in the right form away from it."""
    net, images, masks = scene
    scores = []
    for faithful in (True, False):
        judged = success_rules(
            targeted=False, epsilon=10 / 255, faithful=faithful, success=0.0, stop=0.0
        )
        named = losses_by_name(["exponential_log"], faithful=faithful)
        (run,) = run_losses(net, images, [masks], named, judged)
        scores.append((run.scores[:, -1] - run.scores[:, 0]).mean())
    assert scores[0] > 0 > scores[1]


def test_the_doubling_rule_leaves_exactly_one_alone():
    score = torch.tensor([0.0, 0.225, 0.5, 0.999, 1.0], dtype=torch.float64)
    doubled = success_rules(targeted=True, epsilon=10 / 255, faithful=True, doubled=True)
    assert doubled.credit(score).tolist() == [0.0, 0.45, 1.0, 1.998, 1.0]
    assert doubled.succeeds(doubled.credit(score)).tolist() == [False, True, True, True, True]
    assert doubled.stops(score).tolist() == [False, False, False, True, True]
    right = success_rules(targeted=True, epsilon=10 / 255, doubled=True)
    assert torch.equal(right.credit(score), score)
    without = success_rules(targeted=False, epsilon=10 / 255)
    assert without.succeeds(torch.tensor([0.5, 0.501], dtype=torch.float64)).tolist() == [
        True,
        False,
    ]


@pytest.mark.parametrize("faithful", [True, False])
def test_each_loss_gets_a_random_target_of_its_own_as_published_only(faithful, scene):
    net, images, masks = scene
    bank, used, counted = masks.flip(2), torch.Generator(), torch.Generator()
    names = ["bce_dice", "structure", "log_cosh_dice"]
    medis(net, images, masks, target="random", bank=bank, losses=names, faithful=faithful,
          generator=used)  # fmt: skip
    for _ in names if faithful else names[:1]:
        target_masks("random", masks, bank=bank, generator=counted)
    assert torch.equal(used.get_state(), counted.get_state())


class FourMaps(torch.nn.Module):
    """Like PraNet: a fixed input of 8 x 8, normalisation, four maps, of which the last is main."""

    sides = True
    mean, std = 0.45, 0.25

    def __init__(self):
        super().__init__()
        random = torch.Generator().manual_seed(1)
        self.weights = 12 * torch.randn(4, 3, 3, 3, generator=random, dtype=torch.float64)

    def input_size(self, *_):
        return 8, 8

    def side_maps(self, images, *_):
        small = F.interpolate(images, (8, 8), mode="bilinear", antialias=True)
        maps = F.conv2d((small - self.mean) / self.std, self.weights, padding=1)
        return F.interpolate(maps, images.shape[2:], mode="bilinear")

    def forward(self, images, *_, **__):
        return self.side_maps(images)[:, -1:]


def published_maps(net, image):
    """Resize, normalise, four maps; each enlarged to the mask, sigmoid, stretched."""
    small = F.interpolate(image[None], (8, 8), mode="bilinear", align_corners=False)
    maps = F.conv2d((small - net.mean) / net.std, net.weights, padding=1)
    whole = F.interpolate(maps, image.shape[1:], mode="bilinear", align_corners=False)[0]
    return [(p - p.min()) / (p.max() - p.min() + 1e-8) for p in whole.sigmoid()]


def published_run(net, image, truth, loss):
    """Untargeted: for each step the mIoU of the mean map, the loss, and the image."""
    image, records, score = image.clone(), [], 1.0
    while len(records) < 10 and score > 0.2:
        image.requires_grad_()
        maps = published_maps(net, image)
        overall = sum(maps) / 4
        score = mean_iou(overall, truth)
        if loss is structure_loss:
            value = sum(structure_loss(p, truth) for p in maps)
        else:
            value = loss(overall, truth)
        (gradient,) = torch.autograd.grad(value, image)
        image = image.detach()
        records.append((score, value.item(), image))
        image = (image + STEP * gradient.sign()).clamp(0, 1)
    return records


@pytest.fixture
def large():
    """Three images larger than the network's input, with masks that it nearly finds."""
    net, random = FourMaps(), torch.Generator().manual_seed(7)
    images = 0.5 + 0.05 * (torch.rand(3, 3, 20, 27, dtype=torch.float64, generator=random) - 0.5)
    right = [sum(published_maps(net, image)) / 4 > 0.5 for image in images]
    wrong = torch.rand(3, 20, 27, generator=random) < 0.1
    return net, images, (torch.stack(right) ^ wrong)[:, None]


@pytest.mark.parametrize("bound", ["partial", "bare", "Bound"])
def test_a_network_of_four_maps_is_attacked_at_the_size_of_the_image(bound, large):
    net, images, masks = large
    model = {
        "partial": partial(net, prompts=[""] * 3),
        "bare": net,
        "Bound": Bound(net, [""] * 3),
    }[bound]
    moved = 0
    for name in ("structure", "bce_dice"):
        found = medis(model, images, masks, losses=[name], faithful=True)
        for i in range(3):
            records = published_run(net, images[i], masks[i, 0].double(), PLAIN[name])
            success = notebook_success(records, targeted=False, doubled=False)
            if success is None:
                best = min(score for score, _, _ in records)
                success = next((n, s, x) for n, (s, _, x) in enumerate(records) if s == best)
            assert torch.equal(found[i], success[2])
            moved += int(not torch.equal(found[i], images[i]))
    assert moved >= 4


def test_the_published_structure_loss_is_the_sum_of_four(large):
    net, images, masks = large
    judged = success_rules(targeted=False, epsilon=10 / 255, faithful=True)
    named = losses_by_name(["structure"], faithful=True)
    (run,) = run_losses(as_in_notebooks(net), images, [masks], named, judged)
    (single,) = run_losses(net, images, [masks], named, judged)
    for i in range(3):
        (_, value, _), *_ = published_run(net, images[i], masks[i, 0].double(), structure_loss)
        assert run.values[i, 0].item() == pytest.approx(value)
        assert value > 3 * single.values[i, 0].item()


def test_losses_of_ones_own_see_the_last_map_only(large):
    net, images, masks = large
    seen = []

    def mine(logits, truth):
        seen.append(logits.shape[1])
        return logits.flatten(1).mean(1)

    medis(net, images, masks, losses=[mine], steps=1, faithful=True)
    assert set(seen) == {1}
