"""Attacks by forward passes alone: budgets, what they ask of a model, and known optima."""

from functools import partial

import jaxtyping
import numpy as np
import pytest
import torch
from scipy.fft import idctn
from torch.testing import assert_close

from palpate.attacks import (
    UnbrokenWarning,
    ZeroGradientWarning,
    hopskipjump,
    noise,
    pgd,
    simba,
    spsa,
    square,
)
from palpate.attacks.black_box.hopskipjump import _ImageSearch
from palpate.attacks.black_box.query_loop import Answer
from palpate.attacks.black_box.simba import cosine
from palpate.attacks.black_box.square import share_at
from palpate.attacks.black_box.square_l2 import two_bumps
from palpate.attacks.losses import bce_dice, margin
from palpate.geometry import norms
from palpate.overlap import count, dice
from palpate.randomness import generator

EPSILON = 8 / 255
FAST = {
    "square": square,
    "square-l2": partial(square, norm="l2"),
    "spsa": partial(spsa, samples=8),
    "nes": partial(spsa, samples=6, directions="gaussian"),
    "simba": partial(simba, frequencies=0.5),
    "simba-pixel": partial(simba, basis="pixel"),
    "hopskipjump": partial(hopskipjump, samples=7, tau=0.45),
}
every_attack = pytest.mark.parametrize("attack", FAST.values(), ids=FAST)
optimisers = {name: attack for name, attack in FAST.items() if name != "hopskipjump"}
every_optimiser = pytest.mark.parametrize("attack", optimisers.values(), ids=optimisers)
pytestmark = pytest.mark.filterwarnings("ignore::palpate.attacks.UnbrokenWarning")


def generators(count):
    return [generator(0, f"image-{i}") for i in range(count)]


class Prompted:
    """Knows each image by its prompt, counts what it is asked, and refuses a mix-up."""

    def __init__(self, model, images, reach=1.0):
        self.model, self.images, self.reach = model, images, reach
        self.asked = [0] * len(images)
        self.largest = 0

    def __call__(self, points, prompts):
        assert len(points) == len(prompts)
        assert not torch.is_grad_enabled()
        self.largest = max(self.largest, len(points))
        for point, prompt in zip(points, prompts, strict=True):
            row = int(prompt)
            assert (point - self.images[row]).abs().max() <= self.reach
            self.asked[row] += 1
        return self.model(points)


@every_attack
@pytest.mark.parametrize("queries", [3, 4, 43])
def test_asks_exactly_as_often_as_it_may(attack, queries, net, images, masks):
    model = Prompted(net, images)
    bound = partial(model, prompts=["0", "1", "2", "3"])
    attack(bound, images, masks, epsilon=EPSILON, queries=queries, generator=generators(4))
    assert model.asked == [queries] * 4


@every_optimiser
def test_asks_about_each_image_under_its_own_prompt(attack, net, images, masks):
    near = 1.0 if "l2" in str(attack) else EPSILON + 0.05  # farther are only other images
    spread = torch.tensor([0.0, 0.3, 0.6, 0.9]).view(4, 1, 1, 1) + 0.05 * torch.rand_like(images)
    bound = partial(Prompted(net, spread, reach=near), prompts=["0", "1", "2", "3"])
    attack(bound, spread, masks, epsilon=EPSILON, queries=12)


@every_optimiser
def test_finished_images_are_left_alone(attack):
    images = torch.tensor([0.5, 0.9]).view(2, 1, 1, 1).expand(2, 3, 6, 6).clone()
    masks = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    model = Prompted(lambda x: x.mean((1, 2, 3), keepdim=True).expand(-1, 1, 6, 6) - 0.499, images)
    bound = partial(model, prompts=["0", "1"])
    attack = partial(attack, bound, images, masks, epsilon=0.2, queries=150, loss=margin)
    adversarial = attack(early_stop=True, generator=generators(2))
    scores = dice(count(model.model(adversarial) > 0, masks)).tolist()
    assert scores == [0.0, 1.0]  # the first is lost at once, the second out of reach
    assert model.asked[0] < 60
    assert model.asked[1] == 150


def test_an_image_broken_within_its_ball_is_left_alone(images, masks):
    model = Prompted(lambda x: x.mean((1, 2, 3), keepdim=True).expand(-1, 1, 8, 8) - 0.24, images)
    bound = partial(model, prompts=["0", "1", "2", "3"])
    masks = torch.ones_like(masks)
    attack = partial(hopskipjump, bound, images, masks, epsilon=0.1, queries=200, samples=10)
    with pytest.warns(UnbrokenWarning, match="3 of 4 images"):
        attack(
            starts=torch.zeros_like(images), early_stop=True, generator=generators(4)
        )  # the first lies 0.01 above the threshold, the others 0.15 and more
    assert model.asked[0] < 50
    assert model.asked[1:] == [200] * 3


@every_attack
def test_needs_no_gradient(attack, net, images, masks):
    def through_numpy(points):
        with torch.inference_mode():
            return torch.from_numpy(net(points).numpy().round(3))

    adversarial = attack(through_numpy, images, masks, epsilon=0.1, queries=60)
    assert (adversarial != images).any() or "hopskipjump" in str(attack)


@every_optimiser
def test_memory_that_runs_out_makes_the_passes_smaller_and_changes_nothing(
    attack, net, images, masks
):
    sizes = []

    def cramped(points, prompts):
        sizes.append(len(points))
        if len(points) > 3:
            raise torch.cuda.OutOfMemoryError("as much as that")
        return net(points)

    run = partial(attack, images=images, masks=masks, epsilon=EPSILON, queries=20)
    found = run(partial(cramped, prompts=list("abcd")), generator=generators(4))
    expected = run(net, generator=generators(4))
    assert_close(found - images, expected - images, rtol=0, atol=1e-6)
    assert sizes[0] > 3
    assert max(sizes[5:]) <= 3


def test_memory_that_does_not_hold_one_image_is_reported(images, masks):
    def full(points):
        raise torch.cuda.OutOfMemoryError("full")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        square(full, images[:1], masks[:1], epsilon=EPSILON, queries=5)


def test_several_queries_of_an_image_share_a_pass(net, images, masks):
    model = Prompted(net, images[:1])
    bound = partial(model, prompts=["0"])
    spsa(bound, images[:1], masks[:1], epsilon=EPSILON, queries=33, samples=32)
    assert model.largest == 16


# ---- strength: on the linear pixel classifier the best value of every loss is known


def reached(model, attack, images, masks, epsilon, norm):
    """Rise of the margin as a share of the greatest that is possible."""
    weights = model.conv.weight.detach().flatten()
    direction = torch.where(masks, -1.0, 1.0) * weights.view(1, 3, 1, 1)
    best = (
        direction.sign() if norm == "linf" else direction / norms(direction, "l2").view(4, 1, 1, 1)
    )
    with torch.no_grad():
        clean, ideal, found = (
            margin(model(x), masks)
            for x in (
                images,
                images + epsilon * best,
                attack(model, images, masks, epsilon=epsilon, generator=generators(4)),
            )
        )
    return (found - clean) / (ideal - clean)


@pytest.mark.parametrize(
    ("attack", "epsilon", "norm", "share"),
    [
        (partial(square, queries=400, keep="loss"), EPSILON, "linf", 0.75),
        # Its squares are no smaller than 3 pixels, and these masks are noise.
        pytest.param(
            partial(square, queries=600, keep="loss", norm="l2"),
            0.3,
            "l2",
            0.4,
            marks=pytest.mark.slow,
        ),
        (partial(spsa, queries=1200, samples=64, loss=margin, keep="loss"), EPSILON, "linf", 0.85),
        pytest.param(
            partial(spsa, queries=4000, samples=64, loss=margin, keep="loss", norm="l2"),
            0.3,
            "l2",
            0.85,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            partial(
                spsa,
                queries=4000,
                samples=64,
                directions="gaussian",
                loss=margin,
                keep="loss",
            ),
            EPSILON,
            "linf",
            0.88,
            marks=pytest.mark.slow,
        ),
        (
            partial(simba, queries=600, basis="pixel", keep="loss", step_size=EPSILON),
            EPSILON,
            "linf",
            0.999,
        ),
        pytest.param(
            partial(simba, queries=1500, frequencies=1.0, keep="loss", norm="l2"),
            0.3,
            "l2",
            0.85,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["square", "square-l2", "spsa", "spsa-l2", "nes", "simba-pixel", "simba-l2"],
)
def test_comes_near_the_optimum_of_a_linear_model(
    attack, epsilon, norm, share, model, images, masks, without_shape_checks
):
    found = reached(model, attack, images, masks, epsilon, norm)
    control = reached(model, partial(noise, norm=norm), images, masks, epsilon, norm)
    assert found.min() >= share
    assert found.max() <= 1 + 1e-4
    assert control.abs().max() < 0.4


@pytest.mark.parametrize("norm", [pytest.param("linf", marks=pytest.mark.slow), "l2"])
def test_hopskipjump_finds_the_nearest_point_beyond_a_plane(norm, images, without_shape_checks):
    images = images[:2]
    masks = torch.ones(2, 1, 8, 8, dtype=torch.bool)
    threshold = images.mean((1, 2, 3)) - torch.tensor([0.03, 0.05])

    def brighter_than(points, prompts):
        level = threshold[[int(prompt) for prompt in prompts]]
        return (points.mean((1, 2, 3)) - level).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)

    # From half of the pixels blackened: as far as 2 (linf) and 1.4 (l2) times the optimum.
    starts = images * (torch.rand(images.shape, generator=generator(1)) < 0.5)
    optimum = torch.tensor([0.03, 0.05]) * (1 if norm == "linf" else (3 * 8 * 8) ** 0.5)
    attack = partial(hopskipjump, norm=norm, epsilon=1.0, queries=2500, starts=starts)
    found = attack(
        partial(brighter_than, prompts=["0", "1"]), images, masks, generator=generators(2)
    )
    distances = norms(found - images, norm)
    assert (distances >= optimum * (1 - 1e-4)).all()
    assert (distances <= 1.25 * optimum).all()
    assert dice(count(brighter_than(found, ["0", "1"]) > 0, masks)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("norm", ["linf", pytest.param("l2", marks=pytest.mark.slow)])
def test_hopskipjump_walks_on_the_8_bit_lattice(norm, images):
    images = (255 * images[:2]).round() / 255
    masks = torch.ones(2, 1, 8, 8, dtype=torch.bool)
    seen = []

    def brighter_than_before(points, prompts):
        seen.append(points)
        level = images.mean((1, 2, 3))[[int(prompt) for prompt in prompts]] - 0.04
        return (points.mean((1, 2, 3)) - level).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)

    bound = partial(brighter_than_before, prompts=["0", "1"])
    starts = (255 * images * (torch.rand(images.shape, generator=generator(1)) < 0.5)).round() / 255
    attack = partial(hopskipjump, norm=norm, queries=2000, starts=starts, levels=256)
    optimum = 0.04 * (1 if norm == "linf" else (3 * 8 * 8) ** 0.5)
    found = attack(bound, images, masks, epsilon=1.0, generator=generators(2))
    assert_stored(found, *seen)
    assert (norms(found - images, norm) <= 1.3 * optimum).all()
    assert (bound(found) <= 0).all()
    small = 0.5 * optimum
    with pytest.warns(UnbrokenWarning, match="2 of 2 images"):
        drawn_back = attack(bound, images, masks, epsilon=small, generator=generators(2))
    assert_stored(drawn_back)
    lengths = norms(drawn_back - images, norm)
    assert (lengths <= small * (1 + 1e-5)).all()
    assert (lengths > 0.3 * small).all()


def assert_stored(*batches):
    """Every value is what a file of 8 bits gives back."""
    for images in batches:
        assert torch.equal((255 * images).round().byte().float() / 255, images)


@pytest.mark.parametrize(("dice_score", "side"), [(0.0, 1), (1.0, -1)], ids=["broken", "whole"])
def test_probes_that_all_say_the_same_tell_the_way(dice_score, side, images):
    point = 0.8 * images[:1] + 0.1  # no probe leaves [0, 1]
    hunt = _ImageSearch(images[:1], 0.5, False, "l2", -1.0, samples=5, random=generator(0))
    walk = hunt._normal(point, step=1)
    probes = next(walk)
    with pytest.raises(StopIteration) as returned:
        walk.send([Answer(-dice_score, 0.0, False)] * len(probes))
    mean = (probes - point).sum(0, keepdim=True)
    assert_close(side * mean / mean.norm(), returned.value.value / returned.value.value.norm())


def test_search_lies_between_noise_and_pgd(net, images, masks):
    attacks = {
        "noise": noise,
        "square": partial(square, queries=100, keep="loss", loss=bce_dice),
        "spsa": partial(spsa, queries=100, samples=16, keep="loss"),
        "pgd": partial(pgd, steps=20, keep="loss", loss=bce_dice),
    }
    harm = {
        name: bce_dice(
            net(attack(net, images, masks, epsilon=EPSILON, generator=generators(4))), masks
        )
        for name, attack in attacks.items()
    }
    for search in ("square", "spsa"):
        assert (harm["noise"] < harm[search]).all()
        assert (harm[search] < harm["pgd"]).all()


def test_a_saturated_model_does_not_stop_the_search(net, images, masks):
    def saturated(points):
        return 1e5 * net(points)

    start = dice(count(net(images) > 0, masks)).mean()
    found = square(saturated, images, masks, epsilon=0.1, queries=80, generator=generators(4))
    assert dice(count(net(found) > 0, masks)).mean() < start - 0.03


# ---- what is accepted


@pytest.mark.parametrize("attack", [square, partial(simba, frequencies=0.5)])
@pytest.mark.parametrize("targeted", [False, True])
def test_dice_comes_first_and_the_loss_decides_between_equals(attack, targeted, images, masks):
    """The points returned are the best of all points asked for, in that order."""
    seen = []

    def watched(points):
        logits = 40 * (points.mean(1, keepdim=True) - images.mean(1, keepdim=True))
        scores = dice(count(logits > 0, masks))
        losses = margin(logits, masks)
        sign = 1 if targeted else -1
        seen.append(list(zip((sign * scores).tolist(), (-sign * losses).tolist(), strict=True)))
        return logits

    found = attack(watched, images, masks, epsilon=0.1, queries=25, targeted=targeted)
    watched(found)
    *asked, last = seen
    for image in range(4):
        assert last[image] == max(answers[image] for answers in asked)


def test_by_loss_the_dice_score_does_not_matter(net, images, masks):
    losses = []

    def watched(logits, masks):
        losses.append(bce_dice(logits, masks))
        return losses[-1]

    found = square(net, images, masks, epsilon=0.1, queries=30, keep="loss", loss=watched)
    assert_close(bce_dice(net(found), masks).detach(), torch.stack(losses).amax(0))


# ---- the parts


def test_squares_shrink_as_in_the_paper():
    # The table for 10 000 queries: p halves after 10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000.
    after = [5, 30, 100, 300, 700, 1500, 3000, 5000, 7000, 9000]
    assert [share_at(i / 10_000, 0.8) for i in after] == [0.8 / 2**k for k in range(10)]


def test_square_paints_stripes_and_squares_of_one_colour(images, masks):
    points = []

    def watched(x):
        points.append(x.clone())
        return x[:, :1] - 0.5

    flat = torch.full_like(images, 0.5)
    square(watched, flat, masks, epsilon=0.1, queries=20, share=0.1, generator=generators(4))
    first = points[0] - flat
    assert_close(first.abs(), torch.full_like(first, 0.1))
    assert (first == first[:, :, :1]).all()  # a column has one colour
    assert len(set(first[0, 0, 0].sign().tolist())) == 2
    for point in points[1:]:
        assert_close((point - flat).abs(), torch.full_like(first, 0.1))
    second = (points[1] != points[0]).any(1)[0]
    rows, columns = second.any(1).nonzero().flatten(), second.any(0).nonzero().flatten()
    assert rows[-1] - rows[0] <= 2  # the square root of a tenth of 64, rounded: 3 pixels
    assert columns[-1] - columns[0] <= 2


def test_squares_shrink_one_proposal_after_another():
    """The table counts proposals from 0: of 1000, the third is the first of half the size."""
    points = []

    def watched(x):
        if sum(map(len, points)) >= 10:
            raise KeyboardInterrupt  # seen enough
        points.append(x.clone())
        return x[:, :1] * 0

    grey, mask = torch.full((1, 3, 32, 32), 0.5), torch.ones(1, 1, 32, 32, dtype=torch.bool)
    with pytest.raises(KeyboardInterrupt):
        square(watched, grey, mask, epsilon=0.1, queries=1000, generator=generators(1))
    points = torch.cat(points)  # nothing is ever worse: all differ from the first by a square
    sides = (points != points[:1]).any(1).any(2).sum(1)[1:9]
    assert sides.tolist() == [29, 29, 20, 20, 20, 20, 14, 14]


def test_square_stays_where_it_is_until_something_is_worse(images, masks):
    first, later = (
        square(
            lambda x: x[:, :1] * 0, images, masks, epsilon=0.1, queries=n, generator=generators(4)
        )
        for n in (1, 20)
    )
    assert torch.equal(first, later)


def test_no_query_goes_to_a_point_that_square_knows(images, masks):
    points = []

    def watched(x):
        points.append(x[0].clone())
        return x[:, :1] - 0.5

    small = torch.full((1, 1, 2, 2), 0.5)  # of one channel and four pixels: repeats come easily
    square(watched, small, masks[:1, :, :2, :2], epsilon=0.1, queries=40, share=0.1)
    assert all((point != points[0]).any() for point in points[1:2])
    assert len({tuple(point.flatten().tolist()) for point in points}) > 4


@pytest.mark.parametrize("side", [1, 2, 3, 8, 11])
def test_a_pair_of_bumps_has_unit_length_and_no_sum(side):
    pair = two_bumps(side, generator(0))
    assert pair.norm().item() == pytest.approx(1)
    if side % 2 == 0:
        halves = [pair[: side // 2], pair[side // 2 :]]
        across = [pair[:, : side // 2], pair[:, side // 2 :]]
        assert_close(halves[0], -halves[1]) if halves[0].min() >= 0 else assert_close(
            across[0], -across[1]
        )


@pytest.mark.parametrize("row", [0, 1, 5])
def test_cosines_are_those_of_the_discrete_cosine_transform(row):
    unit = np.zeros((8, 6))
    unit[row, 2] = 1.0
    expected = torch.from_numpy(idctn(unit, norm="ortho"))
    assert_close(torch.outer(cosine(8, row), cosine(6, 2)), expected)


def test_low_frequencies_stay_low(net, images, masks):
    found = simba(net, images, masks, epsilon=0.5, queries=60, frequencies=0.25, norm="l2")
    waves = torch.stack([cosine(8, k) for k in range(8)]).float()
    spectrum = waves @ (found - images) @ waves.T
    assert spectrum[:, :, 2:].abs().max() < 1e-5
    assert spectrum[:, :, :, 2:].abs().max() < 1e-5
    assert spectrum[:, :, :2, :2].abs().max() > 1e-2


def test_the_estimate_is_the_gradient_of_a_linear_loss(model, images, masks, without_shape_checks):
    """One long step in l2 from many samples goes nearly along the true gradient."""
    attack = partial(spsa, epsilon=0.1, queries=1201, samples=1200, norm="l2", loss=margin)
    for directions in ("signs", "gaussian"):
        found = attack(
            model, images, masks, directions=directions, step_size=0.1, generator=generators(4)
        )
        ideal = torch.where(masks, -1.0, 1.0) * model.conv.weight.detach().view(1, 3, 1, 1)
        cosines = torch.cosine_similarity((found - images).flatten(1), ideal.flatten(1))
        assert cosines.min() > 0.83  # sqrt(n / (n + d)) for n = 600 pairs, d = 192 is 0.87


# ---- what must not pass in silence


def test_a_loss_that_no_query_changes_is_reported(images, masks):
    def deaf(points):
        return torch.ones_like(points[:, :1])

    with pytest.warns(ZeroGradientWarning, match="for 4 of 4 images"):
        spsa(deaf, images, masks, epsilon=EPSILON, queries=20, samples=4)


def test_images_that_were_not_broken_are_counted(net, images, masks):
    with pytest.warns(UnbrokenWarning, match=r"4 of 4 images .* epsilon 0.001: \[0, 1, 2, 3\]"):
        found = hopskipjump(net, images, masks, epsilon=0.001, tau=0.1, queries=10)
    assert torch.equal(found, images)  # no broken image was found, hence no direction either


def test_an_image_that_is_broken_already_comes_back_untouched(net, images, masks):
    model = Prompted(net, images)
    bound = partial(model, prompts=["0", "1", "2", "3"])
    found = hopskipjump(bound, images, masks, epsilon=EPSILON, tau=1.0, queries=50)
    assert torch.equal(found, images)
    assert model.asked == [1] * 4


def test_a_start_that_is_not_broken_is_no_start(net, images, masks):
    alone = (
        r"4 of 4 images .* The starts of \[0, 1, 2, 3\] were not broken themselves.* wanted\)\.$"
    )
    with pytest.warns(UnbrokenWarning, match=alone):
        hopskipjump(net, images, masks, epsilon=0.5, tau=0.1, queries=50, starts=images * 0.99)


def test_bad_starts_and_too_few_queries_are_told_apart(images, masks):
    starts = torch.zeros_like(images)
    starts[2] = images[2]
    said = r"4 of 4 images .*: \[0, 1, 2, 3\]\. The starts of \[2\] were .* might break the others"
    with pytest.warns(UnbrokenWarning, match=said):
        hopskipjump(
            lambda points: points.mean(1, keepdim=True) - 0.1,
            images,
            torch.ones_like(masks),
            epsilon=0.001,
            queries=6,
            starts=starts,
        )


@every_optimiser
def test_names_the_images_whose_loss_is_not_finite(attack, net, images, masks):
    def broken(points):
        return net(points) * torch.where(points.mean((1, 2, 3)) > 0.55, torch.nan, 1.0).view(
            -1, 1, 1, 1
        )

    with pytest.raises(
        FloatingPointError, match=r"for images \[.*3.*\] of the batch after \d+ of 20"
    ):
        attack(broken, images, masks, epsilon=EPSILON, queries=20)


@pytest.mark.parametrize(
    ("attack", "wrong", "message"),
    [
        (square, {"queries": 0}, "queries >= 1, got 0"),
        (square, {"share": 0.0}, r"share of the image in \(0, 1\], got 0.0"),
        (square, {"keep": "last"}, "keep 'dice' or 'loss', got 'last'"),
        (square, {"keep": "loss", "early_stop": True}, "keep='dice' with early_stop"),
        (square, {"generator": [torch.Generator()]}, r"one generator per image \(4\), got 1"),
        (spsa, {"queries": 2}, "queries >= 3, got 2"),
        (spsa, {"samples": 5}, "even number of samples >= 2, got 5"),
        (spsa, {"probe": 0.0}, r"probe in \(0, 1\], got 0.0"),
        (spsa, {"momentum": 1.0}, r"momentum in \[0, 1\), got 1.0"),
        (spsa, {"directions": "axes"}, "directions 'signs' or 'gaussian', got 'axes'"),
        (spsa, {"step_size": 0.0}, "step_size > 0, got 0.0"),
        (simba, {"queries": 1}, "queries >= 2, got 1"),
        (simba, {"basis": "wavelet"}, "basis 'dct' or 'pixel', got 'wavelet'"),
        (simba, {"frequencies": 1.5}, r"frequencies in \(0, 1\], got 1.5"),
        (simba, {"step_size": -1.0}, "step_size > 0, got -1.0"),
        (hopskipjump, {"tau": 1.5}, r"tau in \[0, 1\], got 1.5"),
        (hopskipjump, {"samples": 0}, "samples >= 1, got 0"),
        (hopskipjump, {"levels": 1}, "levels >= 2 or None, got 1"),
        (hopskipjump, {"queries": 1}, "queries >= 2, got 1"),
    ],
)
def test_rejects_senseless_settings(
    attack, wrong, message, net, images, masks, without_shape_checks
):
    with pytest.raises(ValueError, match=message):
        attack(net, images, masks, epsilon=EPSILON, **wrong)


@pytest.fixture
def without_shape_checks():
    """They cost more than the attack does, and would be first to complain."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
