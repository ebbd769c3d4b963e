"""What is special about attacks that look for the smallest perturbation."""

import warnings
from functools import partial
from itertools import pairwise

import jaxtyping
import pytest
import torch
from torch.testing import assert_close

from palpate.attacks import (
    UnbrokenWarning,
    ZeroGradientWarning,
    alma_prox,
    asma,
    bisection,
    dag,
    ddn,
    pdpgd,
    pgd,
)
from palpate.attacks.losses import bce
from palpate.attacks.minimal.alma_prox import _penalty
from palpate.attacks.minimal.dice_goal import Goal
from palpate.geometry import norms
from palpate.overlap import count, dice
from palpate.randomness import generator

from .linear import Bent, Centred

QUICK = {
    "bisection": partial(bisection, inner=partial(pgd, steps=5)),
    "ddn": partial(ddn, steps=30),
    "pdpgd": partial(pdpgd, steps=60),
    "alma_prox": partial(alma_prox, steps=60, step_size=0.005),
    "asma": partial(asma, steps=150, step_size=0.1, least_step=0.02),
    "dag": partial(dag),
}
every_attack = pytest.mark.parametrize("attack", QUICK.values(), ids=QUICK)


@pytest.fixture
def without_shape_checks():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def images():
    return 0.3 + 0.4 * torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net(model, images):
    return Bent(model, images).eval()


def norm_of(attack):
    return "l2" if attack.func in (ddn, asma) else "linf"


def right(net, images):
    """Masks that the net gets right everywhere."""
    return net(images) > 0


@every_attack
def test_stops_just_where_the_goal_is_reached(attack, net, images):
    masks = right(net, images)
    adversarial = attack(net, images, masks, tau=0.5)
    delta = adversarial - images
    scores = [dice(count(net(images + s * delta) > 0, masks)) for s in (1.0, 0.8)]
    assert (scores[0] <= 0.5).all()
    if attack.func not in (dag, asma):  # which go on by steps of their own
        assert (scores[1] > 0.5).all()  # a fifth shorter is too short


@every_attack
def test_what_is_broken_already_comes_back_at_once(attack, net, images):
    masks = right(net, images)
    masks[2] = ~masks[2]
    adversarial = attack(net, images, masks)
    still = (adversarial == images).flatten(1).all(1)
    assert still.tolist() == [False, False, True, False]


@every_attack
def test_what_cannot_be_broken_comes_back_clean_and_is_counted(attack, net, images):
    masks = right(net, images)

    class Bound:
        def __init__(self, rows):
            self.rows = rows

        def __call__(self, x):
            far = torch.tensor([0.0, 30.0, 30.0, 0.0])[self.rows].view(-1, 1, 1, 1)
            return net(x) + far * torch.where(masks[self.rows], 1.0, -1.0)

        def for_images(self, rows):
            return Bound([self.rows[row] for row in rows])

    with pytest.warns(UnbrokenWarning, match=r"to 0\.5 or below for 2 of 4 images") as caught:
        adversarial = attack(Bound([0, 1, 2, 3]), images, masks)
    assert sum(w.category is UnbrokenWarning for w in caught) == 1
    still = (adversarial == images).flatten(1).all(1)
    assert still.tolist() == [False, True, True, False]


@every_attack
def test_nothing_longer_than_the_bound_is_accepted(attack, net, images):
    masks, norm = right(net, images), norm_of(attack)
    free = norms(attack(net, images, masks) - images, norm)
    bound = 1.1 * float(free.min())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bounded = norms(attack(net, images, masks, max_epsilon=bound) - images, norm)
    assert bounded.max() <= bound * (1 + 1e-5)
    assert bounded[free.argmin()] > 0
    lost = int((bounded == 0).sum())
    said = [str(w.message) for w in caught if w.category is UnbrokenWarning]
    assert len(said) == (lost > 0)
    assert all(f"within an {norm} radius of" in s and f"{lost} of 4 images" in s for s in said)
    with pytest.warns(UnbrokenWarning, match="4 of 4 images"):
        attack(net, images, masks, max_epsilon=0.2 * bound)


@every_attack
def test_on_an_empty_mask_one_stray_pixel_is_enough(attack, net, images):
    highest = net(images).amax().item()

    def high(x):  # finds nothing
        return net(x) - highest - 0.3

    assert not (high(images) > 0).any()
    adversarial = attack(high, images, torch.zeros(4, 1, 8, 8, dtype=torch.bool))
    found = (high(adversarial) > 0).flatten(1).sum(1)
    assert (found >= 1).all()
    if attack.func not in (dag, asma):
        assert (found <= 8).all()


@every_attack
def test_the_threshold_of_the_model_decides(attack, net, images):
    masks = right(net, images)
    plain = attack(net, images, masks, generator=generator(0))
    moved = attack(lambda x: net(x) + 2, images, masks, threshold=2.0, generator=generator(0))
    lengths = [norms(x - images, norm_of(attack)) for x in (plain, moved)]
    if attack.func is bisection:  # its losses take logits as they come
        assert (dice(count(net(moved) > 0, masks)) <= 0.5).all()
    else:
        assert_close(*lengths, rtol=0.02, atol=0)


@pytest.mark.parametrize(
    ("attack", "norm"),
    [
        (ddn, "l2"),
        (partial(pdpgd, steps=100), "linf"),
        (partial(pdpgd, steps=100, norm="l2"), "l2"),
        (partial(alma_prox, steps=100, step_size=0.01), "linf"),
        (partial(asma, step_size=0.2), "l2"),
        (dag, "linf"),
        (partial(dag, norm="l2"), "l2"),
    ],
    ids=["ddn", "pdpgd", "pdpgd-l2", "alma_prox", "asma", "dag", "dag-l2"],
)
def test_the_8_bit_lattice_holds_what_is_found(attack, norm, net):
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    images = (255 * images).round() / 255
    masks = right(net, images)
    adversarial = attack(net, images, masks, levels=256)
    levels = 255 * adversarial
    assert_close(levels, levels.round(), rtol=0, atol=1e-4)
    stored = levels.round().byte().float() / 255  # as a file would have it
    assert_close(stored, adversarial, rtol=0, atol=0)
    assert (dice(count(net(stored) > 0, masks)) <= 0.5).all()
    plain = attack(net, images, masks)
    assert not torch.equal(plain, adversarial)
    shortest, found = (norms(x - images, norm) for x in (plain, adversarial))
    assert (found >= shortest * 0.9).all()
    assert (found <= shortest * 1.5 + 1 / 255).all()


def test_ddn_takes_another_loss(net, images):
    masks = right(net, images)
    own, given = (ddn(net, images, masks, loss=loss) for loss in (None, bce))
    assert (norms(own - images, "l2") < norms(given - images, "l2")).all()


def test_asma_couples_no_images_through_its_steps(net, images):
    """The published step is that of the IoU of the whole batch."""
    masks = right(net, images)
    target = masks.flip(3)
    bold = partial(asma, steps=40, step_size=0.2, tau=0.8, targeted=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnbrokenWarning)
        together = bold(net, images, target)
        easy = target.clone()
        easy[1:] = masks[1:]  # all others have their target from the start
        beside_easy = bold(net, images, easy)
    assert_close(together[0], beside_easy[0], rtol=0, atol=1e-5)


def test_asma_can_step_as_published(net, images):
    masks = right(net, images)
    raw = partial(asma, normalise=False, steps=200)
    with pytest.warns(UnbrokenWarning, match="4 of 4"):
        raw(net, images, masks, step_size=1e-9, least_step=1e-10)
    adversarial = raw(net, images, masks, step_size=1e-2, least_step=1e-3)
    assert (dice(count(net(adversarial) > 0, masks)) <= 0.5).all()


def test_dag_adds_steps_of_one_size(net, images):
    masks = right(net, images)
    for norm, step in (("linf", 0.01), ("l2", 0.1)):
        with pytest.warns(UnbrokenWarning):
            still = dag(net, images, masks, steps=1, step_size=step, norm=norm, tau=0.0)
        assert torch.equal(still, images)
        moved = dag(net, images, masks, steps=1, step_size=50 * step, norm=norm, tau=0.99)
        assert_close(norms(moved - images, norm).max().item(), 50 * step, rtol=0.2, atol=0)


def test_bisection_runs_whatever_takes_an_epsilon(net, images):
    masks, seen = right(net, images), []

    def shift(model, images, masks, *, epsilon):
        seen.append((len(images), epsilon))
        return (images - epsilon).clamp(0, 1)

    bisection(net, images, masks, tau=0.01, inner=shift)
    assert seen[0] == (4, 0.25)
    with pytest.raises(ValueError, match="takes norm 'l2', got one without"):
        bisection(net, images, masks, inner=shift, norm="l2")
    with pytest.raises(ValueError, match="that can be targeted"):
        bisection(net, images, masks, inner=shift, targeted=True)
    with pytest.raises(ValueError, match="with an argument epsilon"):
        bisection(net, images, masks, inner=ddn)


def test_bisection_counts_a_success_at_its_own_length(net, images):
    masks = right(net, images)

    def modest(model, images, masks, *, epsilon):
        """Goes no further than it must, whatever it is allowed."""
        return found if epsilon >= length else images

    found = bisection(net, images[:1], masks[:1])
    length = norms(found - images[:1], "linf").item()
    calls = []

    def counted(*args, epsilon):
        calls.append(epsilon)
        return modest(*args, epsilon=epsilon)

    again = bisection(net, images[:1], masks[:1], inner=counted, precision=0.01)
    assert torch.equal(again, found)
    assert len(calls) < 12  # the first success narrows the interval to its length


@every_attack
def test_a_model_that_rounds_its_input_is_reported(attack, net, images):
    masks = right(net, images)
    with pytest.warns((ZeroGradientWarning, UnbrokenWarning)) as caught:
        attack(lambda x: net(images[: len(x)]) + 0 * x.sum(), images, masks, generator=generator(0))
    kinds = {w.category for w in caught}
    assert kinds == {ZeroGradientWarning, UnbrokenWarning}


WRONG = [
    ({"tau": 1.0}, "0 <= tau < 1, the Dice score to be reached, got 1.0"),
    ({"tau": -0.1}, "0 <= tau < 1"),
    ({"tau": float("nan")}, "0 <= tau < 1"),
    ({"tau": 0.0, "targeted": True}, "0 < tau <= 1 for a targeted attack"),
    ({"max_epsilon": -1.0}, "max_epsilon >= 0, got -1.0"),
]


@every_attack
@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_rejects_senseless_goals(attack, wrong, message, net, images, masks):
    with pytest.raises(ValueError, match=message):
        attack(net, images, masks, **wrong)


@pytest.mark.parametrize(
    ("attack", "wrong", "message"),
    [
        (bisection, {"max_epsilon": 8.0}, "max_epsilon <= 1, got 8.0: .* pass 8 / 255"),
        (bisection, {"precision": 0.0}, "precision > 0"),
        (bisection, {"generator": [torch.Generator()]}, r"one generator per image \(4\), got 1"),
        (bisection, {"norm": "l1"}, "norm 'l2' or 'linf', got 'l1'"),
        (ddn, {"norm": "linf"}, "norm 'l2', the only one of ddn, got 'linf'"),
        (ddn, {"levels": 1}, "levels >= 2"),
        (ddn, {"change": 1.0}, "0 < change < 1"),
        (ddn, {"start_epsilon": 0.0}, "step_size and start_epsilon > 0, got 1.0 and 0.0"),
        (ddn, {"steps": 0}, "steps >= 1"),
        (asma, {"norm": "linf"}, "norm 'l2', the only one of asma"),
        (asma, {"least_step": 0.0}, "least_step > 0, got 0.05 and 0.0"),
        (dag, {"step_size": 0.0}, "step_size > 0, got 0.0"),
        (dag, {"levels": 0}, "levels >= 2 or None, got 0; 8-bit images have 256"),
        (pdpgd, {"step_size": -1.0}, "step_size > 0, got -1.0"),
        (alma_prox, {"norm": "l1"}, "norm 'l2' or 'linf', got 'l1'"),
    ],
)
def test_rejects_senseless_settings(
    attack, wrong, message, net, images, masks, without_shape_checks
):
    with pytest.raises(ValueError, match=message):
        attack(net, images, masks, **wrong)


@every_attack
def test_rejects_images_that_are_not_pixels(attack, net, images, masks):
    with pytest.raises(ValueError, match=r"images in \[0, 1\], got values in"):
        attack(net, 4 * images, masks)


@every_attack
def test_names_the_images_that_come_out_as_nan(attack, net, images, masks):
    def broken(x):
        return net(x) + torch.where(torch.arange(len(x)) == 1, torch.nan, 0.0).view(-1, 1, 1, 1)

    with pytest.raises(FloatingPointError, match=r"images \[1\]"):
        attack(broken, images, masks)


def test_the_multipliers_of_alma_follow_the_slope_of_the_penalty():
    shape = (1, 1, 8, 8)
    constraint = torch.linspace(-3, 3, 64).double().view(shape).requires_grad_()
    penalty, multiplier = (2 * torch.rand(shape, generator=generator(i)).double() for i in (0, 1))
    value, slope = _penalty(constraint, penalty, multiplier)
    assert_close(slope, *torch.autograd.grad(value.sum(), constraint))
    assert (value.sign() == constraint.sign()).all()


def test_the_steps_of_pdpgd_fall_to_a_hundredth(net, images):
    points = []

    def spied(x):
        points.append(x.detach().clone())
        return net(x)

    masks = net(images) > 0
    pdpgd(spied, images, masks, tau=0.4, steps=60)
    moves = [(after - before).abs().max() for before, after in pairwise(points)]
    assert moves[0] > 0.05
    assert max(moves[-3:]) < 0.1 * moves[0]


def test_asma_is_pulled_back_to_the_clean_image(model, images):
    """As long as no pixel turns, all that changes from step to step is the pull."""
    points = []
    linear = Centred(model.double(), images.double())

    def spied(x):
        points.append(x.detach().clone())
        return linear(x)

    masks = linear(images.double()) > 0
    small = partial(asma, normalise=False, step_size=0.0, least_step=1e-5, steps=2, tau=0.1)
    with pytest.warns(UnbrokenWarning):
        small(spied, images.double(), masks)
    first, second = points[1] - points[0], points[2] - points[1]
    assert_close(second - first, -2e-5 * first, rtol=1e-4, atol=0)


def test_the_first_step_of_asma_takes_the_least(net, images):
    """As in the authors' code, which looks at the IoU after the step only."""
    points = []

    def spied(x):
        points.append(x.detach().clone())
        return net(x)

    target = (net(images) > 0).roll(2, 3)  # much of it is shown already
    painted = partial(asma, targeted=True, tau=1.0, steps=2, norm="l2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnbrokenWarning)
        painted(spied, images, target, step_size=5.0, least_step=1e-3)
    first, second = norms(points[1] - points[0], "l2"), norms(points[2] - points[1], "l2")
    assert (first <= 1.001e-3).all()
    assert (second > 2e-3).any()


# Lengths of the perturbation at the first points, by Rony's implementation with the inner steps
# of its proximal operator run to the end: 12 steps of 0.05 in the setting of the test below.
PUBLISHED = {
    "linf": [0.0, 0.041647, 0.070664, 0.089404, 0.101114, 0.108427, 0.113017, 0.115915, 0.117753],
    "l2": [0.0, 0.004662, 0.010752, 0.01796, 0.02556, 0.032887, 0.039495, 0.04516, 0.049828],
}


@pytest.mark.parametrize(("norm", "published"), PUBLISHED.items(), ids=PUBLISHED)
def test_pdpgd_walks_as_published(norm, published, monkeypatch):
    """On a linear model, every pixel a constraint, away from the ends of the pixel range."""
    place = torch.arange(16.0, dtype=torch.float64).view(1, 1, 4, 4)
    weights = torch.tensor([1.0, -0.5, 0.25], dtype=torch.float64).view(1, 3, 1, 1)
    points = []

    def model(x):
        points.append(x.detach().clone())
        return 4 * ((x - 0.5) * weights).sum(1, keepdim=True) * (1 + 0.1 * place) + place.cos()

    monkeypatch.setattr(
        Goal, "cheapest_pixels", lambda _, short, *__: torch.ones_like(short).bool()
    )
    grey = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    masks = place.cos() > 0
    with pytest.warns(UnbrokenWarning):
        pdpgd(model, grey, masks, tau=0.0, steps=12, norm=norm, step_size=0.05)
    lengths = torch.cat([norms(point - grey, norm) for point in points[: len(published)]])
    assert_close(lengths, torch.tensor(published, dtype=torch.float64), rtol=0, atol=2e-6)


@pytest.mark.parametrize("precision", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("needed", [5, 7, 7.9])
def test_bisection_tries_the_largest_radius_itself(needed, precision):
    grey, masks = torch.full((1, 3, 8, 8), 0.5), torch.ones(1, 1, 8, 8, dtype=torch.bool)

    def shift(model, images, masks, *, epsilon):
        return images - epsilon

    def model(x):
        return x.mean(1, keepdim=True) - 0.5 + needed / 255

    press = partial(bisection, model, grey, masks, inner=shift, precision=precision)
    length = norms(press(max_epsilon=8 / 255) - grey, "linf").item()
    assert needed / 255 <= length * (1 + 1e-5)
    assert length <= min(8 / 255, (1 + precision) * needed / 255) * (1 + 1e-5)
    with pytest.warns(UnbrokenWarning):
        press(max_epsilon=(needed - 0.1) / 255)


@pytest.mark.parametrize(
    ("norm", "within"),
    [
        ("linf", "lattice"),
        ("l2", ["tied", "lattice"]),  # the longest grey level
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (("l2", "lattice"), ("linf", ["tied", "lattice"]))
        ),
    ],
    ids=str,
)
def test_bisection_on_the_lattice_asks_for_no_radius_below_a_grey_level(norm, within, net, images):
    images = (images * 255).round() / 255
    asked = []

    def inner(*args, epsilon, norm="linf", within=within, threshold=0.0):
        asked.append(epsilon)
        return pgd(*args, epsilon=epsilon, norm=norm, within=within, steps=5, random_start=False)

    grey = torch.full_like(images, 100 / 255)  # a tenth of a grey level from the threshold
    for model, clean in ((net, images), (lambda x: x.mean(1, keepdim=True) - 99.9 / 255, grey)):
        asked.clear()
        adversarial = bisection(model, clean, model(clean) > 0, norm=norm, inner=inner)
        least = 3**0.5 / 255 if norm == "l2" and "tied" in within else 1 / 255
        assert min(asked) >= least * (1 - 1e-6)
        assert torch.equal((adversarial * 255).round() / 255, adversarial)
        assert (norms(adversarial - clean, norm) >= least * (1 - 1e-4)).all()


def test_bisection_on_the_lattice_accepts_the_bound_itself():
    """The float nearest to k / 255 may be farther than k / 255."""
    grey = torch.full((1, 3, 8, 8), 200 / 255)
    masks = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    inner = partial(pgd, steps=3, random_start=False, within="lattice")
    for level in range(1, 9):
        adversarial = bisection(
            lambda x, level=level: x.mean(1, keepdim=True) - (200 - level + 0.5) / 255,
            grey, masks, inner=inner, max_epsilon=level / 255,
        )  # fmt: skip
        assert ((adversarial - grey) * 255).round().unique().tolist() == [-level]
