"""Attacks through a surrogate: the published means, and nothing where they are switched off."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from palpate.attacks import pgd, transfer
from palpate.attacks.core.selection import prompts_of
from palpate.attacks.gradient.input_diversity import blurred, draw_places, shrunk, with_shrunk_input
from palpate.attacks.losses import MaskedBCE, SegPGD, bce, margin
from palpate.evaluation.cost import Metered, Tally
from palpate.randomness import generator

EPSILON = 8 / 255
NEUTRAL = {"momentum": 0.0, "diversity": 0.0, "kernel": 1, "scales": 1}


def generators(count):
    return [generator(0, f"image-{i}") for i in range(count)]


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("within", ["anywhere", "tied"])
def test_with_everything_switched_off_it_is_pgd(norm, within, net, images, masks):
    settings = {"epsilon": 0.1, "steps": 5, "step_size": 0.03, "norm": norm, "within": within}
    settings["loss"] = bce
    expected = pgd(net, images, masks, random_start=False, keep="last", **settings)
    assert torch.equal(transfer(net, images, masks, **settings, **NEUTRAL), expected)


@pytest.mark.parametrize(
    "one", [{"momentum": 1.0}, {"diversity": 1.0}, {"kernel": 5}, {"scales": 3}], ids=str
)
def test_each_means_changes_the_attack_and_still_harms(one, net, images, masks):
    press = partial(transfer, net, images, masks, epsilon=EPSILON, steps=5)
    plain, changed = press(**NEUTRAL), press(**(NEUTRAL | one), generator=generators(4))
    assert not torch.equal(plain, changed)
    assert (bce(net(changed), masks) > bce(net(images), masks)).all()


def test_a_loss_that_changes_on_the_way_changes_as_for_pgd(net, images, masks):
    settings = {"epsilon": EPSILON, "steps": 6, "step_size": EPSILON / 4}
    theirs = pgd(net, images, masks, random_start=False, keep="last", loss=SegPGD(), **settings)
    assert torch.equal(transfer(net, images, masks, loss=SegPGD(), **settings, **NEUTRAL), theirs)
    # What SegPGD's is before the first step.
    still = transfer(net, images, masks, loss=MaskedBCE(), **settings, **NEUTRAL)
    assert not torch.equal(still, theirs)


def test_a_surrogate_has_a_threshold_of_its_own(net, images, masks):
    class Surrogate:
        threshold_logit = -0.7

        def __call__(self, images):
            return net(images)

    net, images = net.double(), images.double()
    attack = partial(transfer, epsilon=EPSILON, steps=3, loss=MaskedBCE(), threshold=5.0)
    ours = attack(net, images, masks, surrogate=Surrogate())
    assert torch.equal(ours, attack(net, images, masks, surrogate=lambda x: net(x) + 0.7))


def test_the_first_step_with_momentum_is_that_without(net, images, masks):
    press = partial(transfer, net, images, masks, epsilon=EPSILON, steps=1)
    assert torch.equal(press(**NEUTRAL), press(**(NEUTRAL | {"momentum": 1.0})))


def test_momentum_remembers_directions_and_not_lengths(images, masks):
    """A slope that turns round and halves: the remembered direction wins, then they cancel."""
    slopes = iter((1.0, -0.5, -0.5))

    def loss(logits, masks):
        return next(slopes) * logits.mean((1, 2, 3))

    walk = partial(transfer, lambda x: x.mean(1, keepdim=True), images, masks, momentum=0.5)
    found = walk(epsilon=0.3, steps=3, step_size=0.1, loss=loss)
    # Directions 1, 0.5 - 1 = -0.5 and -0.25 - 1: one step up, two down.
    assert_close(found - images, torch.full_like(images, -0.1), rtol=0, atol=1e-6)


def test_scales_average_the_gradients_of_darker_images(net, images, masks):
    point = images.clone().requires_grad_()
    losses = [margin(net(point * 0.5**i), masks).sum() for i in range(3)]
    expected = torch.autograd.grad(sum(losses) / 3, point)[0]
    step = partial(transfer, net, images, masks, epsilon=0.01, norm="l2", steps=1, loss=margin)
    found = step(**(NEUTRAL | {"scales": 3})) - images
    direction = expected / expected.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    assert_close(found / 0.01, direction, rtol=0, atol=1e-4)


def test_the_gaussian_is_that_of_the_paper():
    spike = torch.zeros(1, 2, 21, 21)
    spike[0, 0, 10, 10] = spike[0, 1, 0, 0] = 1
    smooth = blurred(spike, 7)
    line = torch.exp(-torch.arange(-3, 4).float().square() / 2)
    kernel = torch.outer(line, line) / line.sum() ** 2
    assert_close(smooth[0, 0, 7:14, 7:14], kernel)
    assert smooth[0, 0].sum().item() == pytest.approx(1, abs=1e-5)
    assert_close(smooth[0, 1, :4, :4], kernel[3:, 3:])  # zeros beyond the border
    assert torch.equal(blurred(spike, 1), spike)


def test_a_smaller_image_lies_whole_on_black():
    images = torch.rand(3, 3, 40, 60, generator=generator(0)) * 0.2 + 0.7
    images = F.avg_pool2d(images, 5, 1, 2, count_include_pad=False)
    places = torch.tensor([[0.5, 0.0, 0.5], [1.0, 0.0, 0.0], [0.8, 0.1, 0.05]])
    small = shrunk(images, places)
    assert torch.equal(small[1], images[1])
    quarter = F.interpolate(images[:1], scale_factor=0.5, mode="bilinear")
    assert_close(small[:1, :, 20:, :30], quarter, rtol=0, atol=1e-5)
    assert (small[0, :, :19] == 0).all()
    assert (small[0, :, :, 31:] == 0).all()
    assert small[2].mean().item() == pytest.approx(0.64 * images[2].mean().item(), rel=0.01)


def test_logits_return_to_the_places_of_the_images():
    down, across = torch.meshgrid(
        torch.linspace(-3, 3, 64), torch.linspace(5, 1, 64), indexing="ij"
    )
    ramps = torch.stack([down + across, across - 2 * down])[:, None].repeat(4, 1, 1, 1)
    places = draw_places([generator(0, i) for i in range(8)], 1.0, 0.8)
    back = with_shrunk_input(lambda x: x, places)(ramps)
    assert_close(back[..., 2:-2, 2:-2], ramps[..., 2:-2, 2:-2], rtol=0, atol=1e-3)


def test_places_are_drawn_as_said():
    places = draw_places([generator(0, i) for i in range(2000)], 0.3, 0.6)
    size, left, top = places.T
    assert (size < 1).float().mean().item() == pytest.approx(0.3, abs=0.04)
    assert size.min() >= 0.6
    assert size[size < 1].mean().item() == pytest.approx(0.8, abs=0.02)
    for offset in (left, top):
        assert offset.min() >= 0
        assert (offset + size).max() <= 1 + 1e-6
    assert (draw_places([generator(0)], 0.0, 0.5) == torch.tensor([1.0, 0.0, 0.0])).all()


class Prompted(torch.nn.Module):
    """Each prompt is the weight of its image's logits; remembers what it was asked."""

    def __init__(self, net):
        super().__init__()
        self.net, self.asked = net, []

    def forward(self, images, prompts):
        self.asked.append(tuple(prompts))
        return self.net(images) * torch.tensor(list(map(float, prompts))).view(-1, 1, 1, 1)


def test_the_surrogate_is_asked_what_the_victim_is_asked_and_the_victim_nothing(net, images, masks):
    surrogate, victim, prompts = Prompted(net), Prompted(net), ("1", "2", "-1", "3")
    tally = Tally()
    for bound in (partial(victim, prompts=prompts), Metered(victim, prompts, tally)):
        with tally:
            found = transfer(bound, images, masks, epsilon=EPSILON, surrogate=surrogate, steps=2)
        assert surrogate.asked == [prompts] * 2
        assert victim.asked == []
        expected = transfer(
            partial(surrogate, prompts=prompts), images, masks, epsilon=EPSILON, steps=2
        )
        assert torch.equal(found, expected)
        surrogate.asked.clear()
    assert tally.forwards == 0


def test_a_surrogate_without_prompts_serves_a_victim_without(net, model, images, masks):
    found = transfer(net, images, masks, epsilon=EPSILON, surrogate=model)
    assert torch.equal(found, transfer(model, images, masks, epsilon=EPSILON))


def test_prompts_are_found_where_they_are_bound():
    assert prompts_of(partial(partial(len, prompts=["a"]), flag=1)) == ["a"]
    assert prompts_of(len) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps >= 1"),
        ({"momentum": -1.0}, "momentum >= 0, got -1.0"),
        ({"diversity": 1.5}, r"probability in \[0, 1\], got 1.5"),
        ({"smallest": 1.0}, r"share of the side in \(0, 1\), got 1.0"),
        ({"kernel": 4}, "odd kernel >= 1, got 4"),
        ({"scales": 0}, "scales >= 1, got 0"),
    ],
)
def test_refuses_senseless_options(wrong, message, model, images, masks):
    with pytest.raises(ValueError, match=message):
        transfer(model, images, masks, epsilon=EPSILON, **wrong)
