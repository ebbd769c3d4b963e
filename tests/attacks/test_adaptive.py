"""Attacks through stages that gradients cannot pass, and through random ones."""

import io
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import median_filter
from torch import nn
from torch.testing import assert_close

from palpate.attacks import ZeroGradientWarning, bpda, eot, fgsm, medis, pgd, spsa, transfer
from palpate.attacks.bpda.stages import BitDepth, GaussianNoise, Jpeg, Median
from palpate.attacks.core.selection import prompts_of, restrict
from palpate.attacks.losses import bce, margin
from palpate.evaluation.frozen import threshold_of
from palpate.evaluation.results.describe import hash_weights
from palpate.randomness import generator

EPSILON = 16 / 255
STAGES = (BitDepth(3), Median(3), Jpeg(60))
every_stage = pytest.mark.parametrize("stage", STAGES, ids=repr)


@pytest.fixture
def photo():
    """Two smooth scenes with an edge, of a size that is no multiple of 16."""
    down, across = torch.meshgrid(torch.linspace(0, 1, 41), torch.linspace(0, 1, 54), indexing="ij")
    scene = torch.stack([down, across, 0.5 + 0.3 * (7 * down * across).sin()])
    scene[:, 10:30, 20:40] = torch.tensor([0.8, 0.3, 0.2]).view(3, 1, 1)
    both = torch.stack([scene, 1 - scene.flip(2)]) * 0.9 + 0.05
    return (both * 255).round() / 255


def test_stages_are_what_their_libraries_make(photo):
    depth = BitDepth(3)(photo)
    assert torch.equal(depth.unique(), torch.arange(8.0) / 7)
    assert (depth - photo).abs().max() <= 0.5 / 7 + 1e-6
    median = median_filter(photo.numpy(), size=(1, 1, 3, 3), mode="mirror")
    assert_close(Median(3)(photo), torch.from_numpy(median), rtol=0, atol=0)
    file = io.BytesIO()
    pixels = (photo[1] * 255).byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=60)
    again = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255
    assert torch.equal(Jpeg(60)(photo)[1], again)


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_smooth_jpeg_is_nearly_that_of_pillow(quality, photo):
    real, soft = Jpeg(quality)(photo), Jpeg(quality).smooth(photo)
    error, damage = (real - soft).abs().mean(), (real - photo).abs().mean()
    assert error < 2 / 255
    assert error < damage * 0.75 or damage < 1 / 255


@pytest.mark.parametrize("stage", [BitDepth(3), Median(3)], ids=repr)
def test_smooth_stages_stay_near_the_real_ones(stage, photo):
    assert (stage(photo) - stage.smooth(photo)).abs().mean() < 0.05


@every_stage
@pytest.mark.parametrize("surrogate", ["identity", "smooth"])
def test_bpda_answers_as_the_real_stage_does(stage, surrogate, net, photo):
    model = bpda(stage, net, surrogate)
    expected = net(stage(photo))
    assert torch.equal(model(photo), expected)
    assert torch.equal(model(photo.clone().requires_grad_()), expected)


def test_the_gradient_is_that_of_the_surrogate_at_the_output_of_the_stage(net, photo):
    stage, point = BitDepth(4), photo.clone().requires_grad_()
    (found,) = torch.autograd.grad(bpda(stage, net, "smooth")(point).square().sum(), point)
    after = stage(photo).requires_grad_()
    (behind,) = torch.autograd.grad(net(after).square().sum(), after)
    (expected,) = torch.autograd.grad(stage.smooth(point), point, behind)
    assert_close(found, expected)
    (plain,) = torch.autograd.grad(bpda(stage, net)(point).square().sum(), point)
    assert_close(plain, behind)


class Rounding(nn.Module):
    """A model whose gradient is zero, because it rounds its input."""

    def __init__(self, net, stage):
        super().__init__()
        self.net, self.stage = net, stage

    def forward(self, images):
        return self.net(self.stage(images))


@pytest.mark.parametrize("surrogate", ["identity", "smooth"])
def test_breaks_a_rounding_model_that_pgd_cannot(surrogate, net, images, masks):
    stage = BitDepth(5)
    rounding = Rounding(net, stage)
    press = partial(pgd, epsilon=EPSILON, steps=10, loss=bce, keep="loss", random_start=False)
    with pytest.warns(ZeroGradientWarning, match="for 4 of 4 images"):
        stuck = press(rounding, images, masks)
    assert torch.equal(stuck, images)
    found = press(bpda(stage, net, surrogate), images, masks)
    unrounded = press(net, images, masks)
    clean, broken, most = (bce(m(x), masks) for m, x in (
        (rounding, images), (rounding, found), (net, unrounded)
    ))  # fmt: skip
    assert (broken - clean > 0.6 * (most - clean)).all()


@every_stage
@pytest.mark.parametrize("surrogate", ["identity", "smooth"])
def test_every_stage_lets_an_attack_through(stage, surrogate, net, photo):
    masks = net(photo) > 0
    model = bpda(stage, net, surrogate)
    press = partial(pgd, epsilon=EPSILON, steps=5, loss=bce, keep="loss", random_start=False)
    found = press(model, photo, masks)
    assert (bce(model(found), masks) > bce(model(photo), masks) * 1.2).all()


class Prompted(nn.Module):
    threshold_logit = 0.7

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images, prompts):
        return self.net(images) + torch.tensor(list(map(float, prompts))).view(-1, 1, 1, 1)


def test_stands_in_place_of_the_model_in_an_evaluation(net, photo):
    model = bpda(BitDepth(3), Prompted(net))
    expected = Prompted(net)(BitDepth(3)(photo), ["1", "-1"])
    assert torch.equal(partial(model, prompts=["1", "-1"])(photo), expected)
    assert threshold_of(model) == 0.7
    assert not any(p.requires_grad for p in model.requires_grad_(False).parameters())
    other = bpda(BitDepth(4), Prompted(net))
    assert hash_weights(model) == hash_weights(bpda(BitDepth(3), Prompted(net)))
    assert hash_weights(model) != hash_weights(other)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda net: bpda(torch.round, net, "smooth"), "a stage with a method smooth"),
        (lambda net: bpda(torch.round, net, "rough"), "'identity', 'smooth' or a function"),
        (lambda net: bpda(lambda x: x[..., 1:], net)(torch.ones(1, 3, 8, 8)), "keeps the shape"),
        (lambda _: BitDepth(9), "1 to 8 bits, got 9"),
        (lambda _: Median(4), "odd size >= 1 of a median, got 4"),
        (lambda _: Jpeg(0), "JPEG quality from 1 to 95, got 0"),
        (lambda _: Jpeg()(torch.ones(1, 1, 8, 8)), "3 channels for JPEG, got 1"),
        (lambda net: eot(net, 0), "samples >= 1, got 0"),
        (lambda net: eot(net, 2, GaussianNoise(0.1)), "one generator per image, or images="),
    ],
)
def test_refuses(make, message, net, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        make(net)


def generators(count):
    return [generator(0, f"image-{i}") for i in range(count)]


def gradient(model, images, masks):
    point = images.clone().requires_grad_()
    return torch.autograd.grad(margin(model(point), masks).sum(), point)[0]


def test_the_gradient_converges_to_the_expectation(net, images, masks):
    """The error of a mean of n draws falls with the root of n."""
    stage, errors = GaussianNoise(0.3), []
    truth = gradient(eot(net, 500, stage, generator=generator(9), images=4), images, masks)
    for samples in (4, 64):
        found = gradient(eot(net, samples, stage, generator=generators(4)), images, masks)
        errors.append((found - truth).norm() / truth.norm())
    assert errors[1] < 0.4 * errors[0]
    assert errors[1] < 0.1


def test_one_draw_is_the_model_behind_the_stage(net, images):
    stage = GaussianNoise(0.2)
    expected = net(stage(images, generators(4)))
    assert torch.equal(eot(net, 1, stage, generator=generators(4))(images), expected)


def test_draws_are_new_at_every_call(net, images):
    model = eot(net, 3, GaussianNoise(0.2), generator=generators(4))
    assert not torch.equal(model(images), model(images))


@pytest.mark.parametrize("early_stop", [False, True])
def test_random_numbers_do_not_depend_on_the_batch(early_stop, net, images):
    masks = net(images) > torch.tensor([0.0, -30.0, 0.5, -0.5]).view(4, 1, 1, 1)
    press = partial(pgd, epsilon=0.1, steps=6, restarts=2, early_stop=early_stop)

    def attacked(rows):
        noisy = eot(net, 2, GaussianNoise(0.1), generator=[generators(4)[r] for r in rows])
        chosen = [generator(1, row) for row in rows]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ZeroGradientWarning)
            return press(noisy, images[rows], masks[rows], generator=chosen)

    together = attacked([0, 1, 2, 3])
    alone = torch.cat([attacked([row]) for row in range(4)])
    assert_close(together, alone, rtol=0, atol=1e-5)


def test_random_numbers_stay_with_their_images_when_others_finish(net, images):
    stage = GaussianNoise(0.1)
    some = eot(net, 1, stage, generator=generators(4)).for_images([2, 0])
    expected = net(stage(images[[2, 0]], [generators(4)[2], generators(4)[0]]))
    assert torch.equal(some(images[[2, 0]]), expected)


def test_a_model_that_is_random_by_itself_is_averaged(net, images, masks):
    def restless(x):
        return net(x) * torch.rand(())

    torch.manual_seed(0)
    assert_close(eot(restless, 400)(images), 0.5 * net(images), rtol=0.1, atol=0.02)
    prompted = eot(partial(Prompted(net), prompts=["0", "1", "2", "3"]), 2)
    assert_close(prompted(images), prompted.model(images))
    some = prompted.for_images([3, 1])
    assert torch.equal(some(images[[3, 1]]), prompted(images)[[3, 1]])


def test_refuses_a_batch_of_another_size(net, images):
    with pytest.raises(ValueError, match="3 images, one a generator, got 4"):
        eot(net, 2, GaussianNoise(0.1), generator=generators(3))(images)


def test_works_for_attacks_of_one_step(net, images, masks):
    noisy = eot(net, 8, GaussianNoise(0.1), generator=generators(4))
    found = fgsm(noisy, images, masks, epsilon=EPSILON)
    assert (bce(net(found), masks) > bce(net(images), masks)).all()


def test_both_say_what_they_put_in_front_of_a_model():
    assert bpda(torch.round, torch.nn.Identity()).is_differentiable is False
    assert eot(lambda images: images[:, :1], 2).is_random is True


def test_a_stage_has_the_same_name_in_every_process():
    """Or no row of a model behind it could be picked up again."""
    for stage in (torch.round, lambda images: images, partial(torch.round, decimals=1), Asked(0)):
        name = bytes(bpda(stage, torch.nn.Identity()).stage_name.tolist()).decode()
        assert " at 0x" not in name


class Asked:
    """Wants a prompt for each image, and remembers them."""

    def __init__(self, net):
        self.net, self.prompts_seen = net, []

    def __call__(self, images, prompts):
        if len(prompts) != len(images):
            raise ValueError(f"{len(images)} images, {len(prompts)} prompts")
        self.prompts_seen.append(tuple(prompts))
        return self.net(images)


def test_prompts_are_selected_before_the_first_call_and_after_a_selection(net, images):
    model = Asked(net)
    mean = eot(partial(model, prompts=list("abcd")), 2)
    assert list(prompts_of(mean)) == list("abcd")
    some = restrict(mean, [3, 1, 1], 4)
    fewer = restrict(some, [0, 2], 3)
    assert prompts_of(fewer) == ["d", "b"]
    fewer(images[:2])
    some(images[:3])
    assert model.prompts_seen == [("d", "b")] * 2 + [("d", "b", "b")] * 2


@pytest.mark.parametrize(
    "attack", [medis, partial(spsa, epsilon=EPSILON, queries=20, samples=8)], ids=["medis", "spsa"]
)
def test_attacks_that_ask_for_an_image_several_times_take_a_mean(attack, net, images, masks):
    model = partial(Asked(net), prompts=list("abcd"))
    plain, mean = (
        attack(asked, images, masks, generator=generator(0)) for asked in (model, eot(model, 2))
    )
    assert_close(mean, plain, rtol=0, atol=1e-6)


def test_a_surrogate_gets_the_prompts_of_a_random_victim(net, images, masks):
    victim, surrogate = (partial(Asked(net), prompts=list("abcd")), Asked(net))
    transfer(eot(victim, 2), images, masks, epsilon=EPSILON, surrogate=surrogate, steps=1)
    assert surrogate.prompts_seen == [("a", "b", "c", "d")]
