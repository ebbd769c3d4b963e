"""Losses that weight pixels or change on the way: their slopes, and how attacks use them."""

import inspect
import math
import pickle
from functools import partial

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from palpate.attacks import LOSSES, ZeroGradientWarning, apgd, cospgd, fgsm, pgd, segpgd
from palpate.attacks.losses import (
    AnnealedDice,
    CosPGD,
    MaskedBCE,
    MaskedMargin,
    SegPGD,
    Tsallis,
    bce,
    jensen_shannon,
    tsallis,
)
from palpate.evaluation.results.describe import describe
from palpate.overlap import count
from palpate.randomness import generator
from palpate.types import ScheduledLoss

SCHEDULED = {k: v for k, v in LOSSES.items() if isinstance(v, ScheduledLoss)}
every_moment = pytest.mark.parametrize(
    "loss",
    [
        v.at(p, targeted=t)
        for v in SCHEDULED.values()
        for p in (0.0, 0.4, 1.0)
        for t in (False, True)
    ],
)


@pytest.fixture
def logits():
    random = torch.Generator().manual_seed(5)
    return (3 * torch.randn(4, 1, 8, 8, generator=random)).double().requires_grad_()


def slope(loss, logits, masks):
    """Derivative by the margin of each pixel, times the number of pixels."""
    (gradient,) = torch.autograd.grad(loss(logits, masks).sum(), logits)
    return 64 * gradient * torch.where(masks, 1.0, -1.0)


def entropy_slope(q):
    return -(1 - q)


def cosine(q):
    return q / (q**2 + (1 - q) ** 2).sqrt()


SLOPES = {
    "segpgd-first": (SegPGD().at(0.0), lambda q, m: (m > 0) * entropy_slope(q)),
    "segpgd-middle": (
        SegPGD().at(0.5),
        lambda q, m: torch.where(m > 0, 0.75, 0.25) * entropy_slope(q),
    ),
    "segpgd-end": (SegPGD().at(1.0), lambda q, _: 0.5 * entropy_slope(q)),
    "segpgd-targeted": (
        SegPGD().at(0.5, targeted=True),
        lambda q, m: torch.where(m > 0, 0.25, 0.75) * entropy_slope(q),
    ),
    "cospgd": (CosPGD().at(0.3), lambda q, _: cosine(q) * entropy_slope(q)),
    "cospgd-targeted": (
        CosPGD().at(0.3, targeted=True),
        lambda q, _: (1 - cosine(q)) * entropy_slope(q),
    ),
    "masked_bce": (MaskedBCE().at(0.3), lambda q, m: (m > 0) * entropy_slope(q)),
    "masked_bce-targeted": (
        MaskedBCE().at(0.3, targeted=True),
        lambda q, m: (m <= 0) * entropy_slope(q),
    ),
    "masked_margin": (MaskedMargin().at(0.3), lambda _, m: -1 * (m > 0) / rms(m)),
    "masked_margin-sure": (
        MaskedMargin(confidence=0.5).at(0.3),
        lambda _, m: -1 * (m > -0.5 * rms(m)) / rms(m),
    ),
    "masked_margin-targeted": (
        MaskedMargin(confidence=0.5).at(0.3, targeted=True),
        lambda _, m: -1 * (m < 0.5 * rms(m)) / rms(m),
    ),
    "tsallis-first": (Tsallis().at(0.0), lambda q, _: -(q**3) * (1 - q)),
    "tsallis-middle": (Tsallis().at(0.5), lambda q, _: -(q**1.5) * (1 - q)),
    "tsallis-last": (Tsallis().at(1.0), lambda q, _: entropy_slope(q)),
    "tsallis-targeted": (Tsallis().at(0.0, targeted=True), lambda q, _: -((1 - q) ** 3) * q),
    "jensen_shannon": (
        jensen_shannon,
        lambda q, _: 0.5 * q * (1 - q) * (q / (1 + q)).log(),
    ),
}


def rms(margins):
    return (margins**2).mean((1, 2, 3), keepdim=True).sqrt()


@pytest.mark.parametrize(("loss", "expected"), SLOPES.values(), ids=SLOPES)
def test_slopes_have_their_closed_form(loss, expected, logits, masks):
    margins = torch.where(masks, logits, -logits).detach()
    assert_close(slope(loss, logits, masks), expected(margins.sigmoid(), margins))


@every_moment
@pytest.mark.parametrize("size", [0.0, 1.0, 40.0, 100.0, 1e4])
@pytest.mark.parametrize("wrong", [False, True])
def test_saturated_logits_have_finite_losses_and_gradients(loss, size, wrong):
    masks = torch.tensor([True, False]).view(1, 1, 1, 2)
    logits = (size * torch.where(masks ^ wrong, 1.0, -1.0)).requires_grad_()
    value = loss(logits, masks)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert value.isfinite().all()
    assert gradient.isfinite().all()


@every_moment
def test_looks_at_one_image_at_a_time(loss, logits, masks):
    alone = [loss(z[None], m[None]) for z, m in zip(logits, masks, strict=True)]
    assert_close(loss(logits, masks), torch.cat(alone))


def test_known_values():
    logits = torch.tensor([2.0, -1.0, 0.5, -3.0]).view(1, 1, 2, 2)
    masks = torch.tensor([True, True, False, False]).view(1, 1, 2, 2)
    entropies = [math.log1p(math.exp(-m)) for m in (2.0, -1.0, -0.5, 3.0)]
    expected = (
        0.8 * entropies[0] + 0.2 * entropies[1] + 0.2 * entropies[2] + 0.8 * entropies[3]
    ) / 4
    assert SegPGD().at(0.4)(logits, masks).item() == pytest.approx(expected)
    masked = (entropies[0] + entropies[3]) / 4
    assert MaskedBCE().at(0.9)(logits, masks).item() == pytest.approx(masked)
    length = math.sqrt((4 + 1 + 0.25 + 9) / 4)
    assert MaskedMargin().at(0.9)(logits, masks).item() == pytest.approx(-5 / length / 4)
    assert MaskedMargin()(logits, masks).item() == pytest.approx(-3.5 / length / 4)


def test_the_annealed_dice_goes_from_a_linear_loss_to_the_score_itself(logits, masks):
    loss = AnnealedDice(first=1e3, last=1e-4)
    (first,) = torch.autograd.grad(loss.at(0.0)(logits, masks).sum(), logits)
    per_class = [first[masks], first[~masks]]
    assert all(values.std() < 0.3 * values.mean().abs() for values in per_class)
    found = count(logits > 0, masks)
    hard = 1 - (2 * found.tp + 1) / (2 * found.tp + found.fp + found.fn + 1)
    assert_close(loss.at(1.0)(logits, masks), hard.double(), atol=1e-3, rtol=0)
    assert_close(
        AnnealedDice().at(0.4)(1000 * logits, masks), AnnealedDice().at(0.4)(logits, masks)
    )


def test_the_masked_margin_does_not_depend_on_the_scale_of_the_logits(logits, masks):
    for loss in (MaskedMargin(), MaskedMargin(confidence=0.3).at(0.0)):
        assert_close(loss(1000 * logits, masks), loss(logits, masks))


def test_the_weights_of_cospgd_are_cosines_on_two_channels(logits, masks):
    both = torch.cat([torch.zeros_like(logits), logits], 1)
    truth = torch.cat([~masks, masks], 1).double()
    weight = F.cosine_similarity(both.softmax(1), truth).detach()[:, None]
    entropy = F.binary_cross_entropy_with_logits(logits, masks.double(), reduction="none")
    assert_close(CosPGD().at(0.0)(logits, masks), (weight * entropy).mean((1, 2, 3)))


def test_jensen_shannon_is_the_mean_divergence_from_the_middle(logits, masks):
    q = torch.where(masks, logits, -logits).sigmoid()
    predicted, truth = torch.stack([q, 1 - q]), torch.stack([torch.ones_like(q), 0 * q])
    middle = (predicted + truth) / 2
    divergences = [torch.xlogy(p, p / middle).sum(0) for p in (predicted, truth)]
    assert_close(jensen_shannon(logits, masks), sum(divergences).mean((1, 2, 3)) / 2)


def test_jensen_shannon_lies_between_0_and_log_2():
    masks = torch.tensor([True, True, True]).view(3, 1, 1, 1)
    logits = torch.tensor([1e4, 0.0, -1e4]).view(3, 1, 1, 1)
    middle = 0.5 * (-math.log(0.75) + 0.5 * math.log(2 / 3) + 0.5 * math.log(2))
    assert_close(jensen_shannon(logits, masks), torch.tensor([0.0, middle, math.log(2)]))


@pytest.mark.parametrize(
    ("exponent", "expected"),
    [
        (1.0, lambda q: -q.log()),
        (1 - 1e-12, lambda q: -q.log()),  # where two powers would cancel
        (0.0, lambda q: 1 - q),
        (-1.0, lambda q: (1 - q**2) / 2),
        (0.5, lambda q: 2 * (1 - q.sqrt())),
    ],
)
def test_tsallis_at_some_exponents(exponent, expected, logits, masks):
    q = torch.where(masks, logits, -logits).sigmoid()
    found = tsallis(logits, masks, exponent=exponent)
    assert_close(found, expected(q).mean((1, 2, 3)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tsallis(last=1.5), "at most 1, .* got 1.5"),
        (lambda: Tsallis(first=float("nan")), "got nan"),
        (lambda: MaskedMargin(confidence=-0.1), "confidence >= 0, got -0.1"),
        (lambda: AnnealedDice(last=0), "first >= last > 0, got 2.0 and 0"),
        (lambda: AnnealedDice(first=0.01), "got 0.01 and 0.03"),
    ],
)
def test_senseless_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("loss", SCHEDULED.values(), ids=SCHEDULED)
def test_what_points_are_compared_by_rises_with_every_pixel_that_goes_wrong(loss):
    """Which the slope's own integral need not do: a pixel that turns loses its weight."""
    masks = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    wrong = [torch.where(torch.arange(4).view(1, 1, 2, 2) < n, -1.0, 1.0) for n in range(5)]
    values = [loss(logits, masks).item() for logits in wrong]
    assert values == sorted(set(values))


class Recorded:
    """Climbs the mean of the logits; what it is asked for is written down."""

    def __init__(self, value=lambda logits: logits.mean((1, 2, 3)), climbed=None) -> None:
        self.value, self.climbed, self.asked = value, climbed or value, []

    def __call__(self, logits, _):
        return self.value(logits)

    def at(self, progress, *, targeted=False):
        self.asked.append((progress, targeted))
        return lambda logits, _: self.climbed(logits)


@pytest.mark.parametrize("targeted", [False, True])
def test_attacks_say_how_far_they_have_got(targeted, model, images, masks):
    for attack, expected in (
        (fgsm, [0.0]),
        (partial(pgd, steps=4, restarts=2), [0.0, 0.25, 0.5, 0.75] * 2),
        (partial(apgd, steps=5), [0.0, 0.2, 0.4, 0.6, 0.8]),
    ):
        loss = Recorded()
        attack(model, images, masks, epsilon=0.1, loss=loss, targeted=targeted)
        assert loss.asked == [(progress, targeted) for progress in expected]


@pytest.mark.parametrize("attack", [partial(pgd, steps=4), partial(apgd, steps=4)])
def test_points_are_compared_by_the_value_and_not_by_what_is_climbed(attack, model, images, masks):
    rise = lambda logits: logits.mean((1, 2, 3))  # noqa: E731
    attack = partial(attack, epsilon=0.1, random_start=False, keep="loss")
    plain = attack(model, images, masks, loss=lambda z, _: rise(z))
    against = attack(model, images, masks, loss=Recorded(value=lambda z: -rise(z), climbed=rise))
    assert (rise(model(against)) > rise(model(images))).all()  # it climbed
    assert (rise(model(against)) <= rise(model(plain))).all()  # and gave back its least climb
    if attack.func is pgd:
        first = attack(model, images, masks, loss=lambda z, _: rise(z), steps=1, step_size=0.0625)
        assert_close(against, first)


def test_a_scheduled_loss_that_always_climbs_the_same_is_a_plain_loss(net, images, masks):
    class Constant:
        def __call__(self, logits, masks):
            return bce(logits, masks)

        def at(self, _, **__):
            return bce

    for attack in (fgsm, partial(pgd, steps=5), partial(apgd, steps=12)):
        for targeted in (False, True):
            results = [
                attack(net, images, masks, epsilon=0.1, loss=loss, targeted=targeted,
                       generator=generator(0))
                for loss in (bce, Constant())
            ]  # fmt: skip
            assert torch.equal(*results)


@pytest.mark.parametrize("attack", [fgsm, partial(pgd, steps=2), partial(apgd, steps=2)])
@pytest.mark.parametrize("which", ["value", "climbed"])
def test_a_batch_mean_is_refused_in_either_role(attack, which, model, images, masks):
    per_image = lambda logits: logits.mean((1, 2, 3))  # noqa: E731
    loss = Recorded(**{"value": per_image, "climbed": per_image, which: torch.mean})
    with pytest.raises(ValueError, match=r"loss of shape \(4,\), one value per image, got \(\)"):
        attack(model, images, masks, epsilon=0.1, loss=loss)


@pytest.mark.parametrize("which", ["value", "climbed"])
def test_a_value_that_is_not_finite_is_refused_in_either_role(which, model, images, masks):
    per_image = lambda logits: logits.mean((1, 2, 3))  # noqa: E731
    broken = lambda logits: per_image(logits) + torch.tensor([0, torch.inf, 0, 0])  # noqa: E731
    loss = Recorded(**{"value": per_image, "climbed": per_image, which: broken})
    with pytest.raises(FloatingPointError, match=r"for images \[1\]"):
        fgsm(model, images, masks, epsilon=0.1, loss=loss)


@pytest.mark.parametrize(("attack", "loss"), [(segpgd, SegPGD()), (cospgd, CosPGD())])
@pytest.mark.parametrize("targeted", [False, True])
def test_named_attacks_are_pgd_with_their_loss(attack, loss, targeted, net, images, masks):
    settings = {
        "epsilon": 0.4, "steps": 5, "step_size": 0.1, "restarts": 2, "norm": "l2",
        "targeted": targeted, "threshold": 0.3, "keep": "loss",
    }  # fmt: skip
    named = attack(net, images, masks, generator=generator(0), **settings)
    assert torch.equal(
        named, pgd(net, images, masks, loss=loss, generator=generator(0), **settings)
    )
    assert not torch.equal(named, pgd(net, images, masks, generator=generator(0), **settings))
    short = {"epsilon": 0.1, "steps": 3, "early_stop": True, "random_start": False}
    assert torch.equal(
        attack(net, images, masks, **short), pgd(net, images, masks, loss=loss, **short)
    )


@pytest.mark.parametrize("attack", [fgsm, partial(pgd, steps=3), partial(apgd, steps=3)])
@pytest.mark.parametrize("targeted", [False, True])
def test_nothing_left_to_do_is_no_zero_gradient(attack, targeted, model, images):
    masks = (model(images) > 0) == targeted  # every pixel is as the attacker wants it
    attack = partial(attack, epsilon=1e-6, loss=MaskedBCE(), targeted=targeted)
    attack(model, images, masks)
    masks[:, :, 0, 0] ^= True  # one pixel is not, and cannot be moved
    with pytest.warns(ZeroGradientWarning, match="4 of 4 images"):
        attack(lambda x: 0 * x[:, :1] + model(x).detach(), images, masks)


@pytest.mark.parametrize("name", SCHEDULED)
def test_towards_a_target_they_lead_to_the_target(name, net, images):
    goal = fgsm(net, images, net(images) > 0, epsilon=0.1, loss=bce)
    target = net(goal) > 0
    attack = partial(pgd, net, images, target, epsilon=0.1, steps=40, targeted=True)
    found = attack(loss=LOSSES[name], generator=generator(0))
    before, after = (((net(x) > 0) == target).flatten(1).float().mean(1) for x in (images, found))
    assert (after > (before + 1) / 2).all()  # at least half of the way


@pytest.mark.parametrize("attack", [segpgd, cospgd])
def test_a_pgd_with_its_own_loss_is_a_function_like_any_other(attack, model, images, masks):
    parameters = inspect.signature(attack).parameters
    assert list(parameters) == [n for n in inspect.signature(pgd).parameters if n != "loss"]
    assert attack.__name__ in ("segpgd", "cospgd")
    assert pickle.loads(pickle.dumps(attack)) is attack
    assert inspect.getdoc(attack).startswith(("SegPGD (Gu", "CosPGD (Agnihotri"))
    # Stored rows are found by this description: a loss in it would have all of them done again.
    assert describe(attack).startswith(f"palpate.attacks.{attack.__name__}(early_stop=False, keep=")
    assert "loss" not in describe(attack)
    with pytest.raises(TypeError, match="unexpected keyword argument 'loss'"):
        attack(model, images, masks, epsilon=0.1, loss=pgd)
    with pytest.raises(TypeError, match="required argument: 'epsilon'"):
        attack(model, images, masks)
