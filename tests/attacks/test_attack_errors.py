"""What must never pass in silence."""

from functools import partial

import pytest
import torch

from palpate.attacks import (
    ZeroGradientWarning,
    apgd,
    fgsm,
    hopskipjump,
    medis,
    noise,
    pgd,
    sea,
    simba,
    spsa,
    square,
    transfer,
)
from palpate.attacks.losses import bce, dice

EPSILON = 8 / 255
BOTH = pytest.mark.parametrize(
    "attack",
    [fgsm, partial(pgd, steps=3), partial(apgd, steps=3)],
    ids=["fgsm", "pgd", "apgd"],
)
ALL = pytest.mark.parametrize(
    "attack",
    [noise, fgsm, pgd, apgd, sea, square, spsa, simba, hopskipjump],
    ids=lambda attack: attack.__name__,
)


@ALL
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epsilon": -0.1}, "epsilon >= 0, got -0.1"),
        ({"epsilon": float("nan")}, "epsilon >= 0, got nan"),
        ({"epsilon": 8.0}, r"epsilon <= 1, got 8.0: .* pass 8 / 255"),
        ({"epsilon": 14.0, "norm": "l2"}, r"l2 epsilon <= 13.86"),
    ],
)
def test_rejects_senseless_balls(attack, wrong, message, model, images, masks):
    with pytest.raises(ValueError, match=message):
        attack(model, images, masks, **wrong)


def test_a_long_l2_radius_is_fine(model, images, masks):
    fgsm(model, images, masks, epsilon=8.0, norm="l2")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps >= 1 and restarts >= 1, got 0 and 1"),
        ({"restarts": 0}, "steps >= 1 and restarts >= 1, got 40 and 0"),
        ({"step_size": 0.0}, "step_size > 0, got 0.0"),
        ({"step_size": float("inf")}, "finite step_size"),
        ({"early_stop": True, "keep": "loss"}, "keep='dice' with early_stop, got keep='loss'"),
        ({"generator": [torch.Generator()]}, r"one generator per image \(4\), got 1"),
    ],
)
def test_rejects_senseless_schedules(wrong, message, model, images, masks):
    with pytest.raises(ValueError, match=message):
        pgd(model, images, masks, epsilon=EPSILON, **wrong)


@pytest.mark.parametrize(
    ("attack", "wrong", "message"),
    [
        (apgd, {"steps": 0}, "steps >= 1 and restarts >= 1, got 0 and 1"),
        (apgd, {"restarts": 0}, "steps >= 1 and restarts >= 1, got 100 and 0"),
        (apgd, {"early_stop": True, "keep": "loss"}, "keep='dice' with early_stop"),
        (sea, {"steps": 0}, "steps >= 1"),
        (sea, {"losses": ()}, "at least one loss, got none"),
    ],
)
def test_rejects_senseless_adaptive_attacks(attack, wrong, message, model, images, masks):
    with pytest.raises(ValueError, match=message):
        attack(model, images, masks, epsilon=EPSILON, **wrong)


@ALL
@pytest.mark.parametrize("spoil", [lambda x: 4 * x - 2, lambda x: 255 * x, lambda x: x * torch.nan])
def test_rejects_images_that_are_not_pixels(attack, spoil, model, images, masks):
    with pytest.raises(ValueError, match=r"images in \[0, 1\], got values in"):
        attack(model, spoil(images), masks, epsilon=EPSILON)


@ALL
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: ((255 * x).byte(), y), "float32 or float64, got torch.uint8"),
        (lambda x, y: (x.bfloat16(), y), "float32 or float64, got torch.bfloat16"),
        (lambda x, y: (x[0], y), r"shape \(b, c, h, w\), got \(3, 8, 8\)"),
        (lambda x, y: (x[:0], y[:0]), r"shape \(b, c, h, w\), got \(0, 3, 8, 8\)"),
        (lambda x, y: (x, y.float()), "bool masks .* got torch.float32"),
        (lambda x, y: (x, y[:, 0]), r"shape \(4, 1, 8, 8\), got torch.bool of shape \(4, 8, 8\)"),
        (lambda x, y: (x, y[..., :4]), r"of shape \(4, 1, 8, 4\); resize masks"),
        (lambda x, y: (x, y.to("meta")), "masks on cpu, got masks on meta"),
    ],
)
def test_rejects_what_is_not_a_batch(
    attack, spoil, message, model, images, masks, without_shape_checks
):
    with pytest.raises(ValueError, match=message):
        attack(model, *spoil(images, masks), epsilon=EPSILON)


@pytest.mark.parametrize(
    ("attack", "wrong", "message"),
    [
        (fgsm, {"norm": "l1"}, "norm 'l2' or 'linf', got 'l1'"),
        (pgd, {"keep": "worst"}, "keep 'dice', 'loss' or 'last', got 'worst'"),
        (apgd, {"keep": "last"}, "keep 'dice' or 'loss', got 'last'"),
        (sea, {"preset": "slow"}, "preset 'quick', 'standard' or 'full', got 'slow'"),
        (noise, {"spread": "normal"}, "spread 'extreme' or 'uniform', got 'normal'"),
    ],
)
def test_rejects_unknown_names(attack, wrong, message, model, images, masks, without_shape_checks):
    with pytest.raises(ValueError, match=message):
        attack(model, images, masks, epsilon=EPSILON, **wrong)


@BOTH
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x[:, 0], r"shape \(4, 1, 8, 8\), .* got \(4, 8, 8\)"),
        (lambda x: x[:, :2], r"got \(4, 2, 8, 8\)"),
        (lambda x: x[:, :1, ::2, ::2], r"got \(4, 1, 4, 4\)"),
        (lambda x: x[:, :1] > 0, "float logits .* got torch.bool"),
        (lambda x: {"logits": x[:, :1]}, "float logits .* got dict"),
    ],
)
def test_rejects_what_is_not_logits(attack, answer, message, images, masks):
    with pytest.raises(ValueError, match=message):
        attack(answer, images, masks, epsilon=EPSILON)


@BOTH
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda z, _: z.mean(), r"loss of shape \(4,\), one value per image, got \(\)"),
        (lambda z, _: z.flatten(1), r"got \(4, 64\)"),
        (lambda *_: 0.5, "got float"),
    ],
)
def test_rejects_a_loss_that_is_not_one_value_per_image(
    attack, loss, message, model, images, masks
):
    with pytest.raises(ValueError, match=message):
        attack(model, images, masks, epsilon=EPSILON, loss=loss)


@pytest.mark.parametrize(
    "attack",
    [
        fgsm,
        partial(pgd, steps=3),
        partial(apgd, steps=3),
        partial(sea, steps=3),
        transfer,
        partial(square, queries=4),
        partial(simba, queries=4),
        partial(spsa, queries=8, samples=2),
    ],
    ids=["fgsm", "pgd", "apgd", "sea", "transfer", "square", "simba", "spsa"],
)
@pytest.mark.parametrize(
    "loss",
    [
        lambda z, _: z.mean().expand(len(z)),
        lambda z, y: bce(z, y) / bce(z, y).sum(),
        lambda z, y: bce(z - z.mean(), y),
        lambda z, y: bce(z, y).max().expand(len(z)),
        lambda z, y: torch.cat([bce(z, y)[:1], bce(z, y)[1:] + bce(z, y)[:1]]),
        lambda z, y: torch.cat([bce(z, y)[:-1], bce(z, y)[-2:-1]]),
    ],
    ids=["mean", "share", "centred", "worst", "all-but-the-first", "the-last"],
)
def test_rejects_a_loss_of_one_image_that_depends_on_another(attack, loss, model, images, masks):
    options = {"losses": (loss,)} if getattr(attack, "func", None) is sea else {"loss": loss}
    with pytest.raises(ValueError, match="loss of each image by itself, got one that depends"):
        attack(model, images, masks, epsilon=EPSILON, **options)


@pytest.mark.parametrize("losses", [("coupled",), ("bce", "coupled"), ("coupled", "bce")], ids=len)
def test_rejects_a_coupled_loss_wherever_it_stands_in_a_race(losses, model, images, masks):
    def coupled(z, y):
        return bce(z, y).max().expand(len(z))

    losses = [coupled if name == "coupled" else name for name in losses]
    with pytest.raises(ValueError, match="loss of each image by itself, got one that depends"):
        medis(model, images, masks, losses=losses)


def test_rejects_a_scheduled_loss_whose_comparison_is_coupled(model, images, masks):
    class Halfway:
        def __call__(self, logits, masks):
            return bce(logits, masks).mean().expand(len(logits))

        def at(self, progress, *, targeted=False):
            del progress, targeted
            return bce

    with pytest.raises(ValueError, match="loss of each image by itself, got one that depends"):
        pgd(model, images, masks, epsilon=EPSILON, steps=2, loss=Halfway())


@pytest.mark.parametrize("attack", [square, simba], ids=["square", "simba"])
def test_without_gradients_a_loss_need_not_be_traceable(attack, model, images, masks):
    def by_hand(logits, masks):
        return torch.from_numpy(logits.numpy().mean((1, 2, 3)))

    asked = []
    adversarial = attack(
        lambda x: asked.append(len(x)) or model(x),
        images, masks, epsilon=EPSILON, queries=5, loss=by_hand,
    )  # fmt: skip
    assert (adversarial != images).any()
    assert sum(asked) == 5 * len(images)  # the check asks the model nothing


def test_a_mean_over_one_image_is_its_own(model, images, masks):
    found = fgsm(
        model, images[:1], masks[:1], epsilon=EPSILON, loss=lambda z, _: z.mean().expand(len(z))
    )
    assert (found != images[:1]).any()


def test_rejects_a_batch_mean_of_one_image(model, images, masks):
    with pytest.raises(ValueError, match=r"loss of shape \(1,\)"):
        fgsm(model, images[:1], masks[:1], epsilon=EPSILON, loss=lambda z, _: z.mean())


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_names_the_images_whose_loss_is_not_finite(broken, model, images, masks):
    def breaks_at_second_step(z, m, calls=[]):  # noqa: B006
        calls.append(None)
        value = torch.tensor([0.0, broken, 0.0, broken]) if len(calls) == 2 else 0.0
        return z.mean((1, 2, 3)) + value

    message = (
        r"finite loss, got .* for images \[1, 3\] of the batch after 1 of 5 steps of restart 1"
    )
    with pytest.raises(FloatingPointError, match=message):
        pgd(model, images, masks, epsilon=EPSILON, steps=5, loss=breaks_at_second_step)


def test_names_broken_images_by_their_place_in_the_callers_batch():
    images = torch.tensor([0.9, 0.0, 0.9, 0.0]).view(4, 1, 1, 1).expand(4, 3, 4, 4)
    masks = torch.ones(4, 1, 4, 4, dtype=torch.bool)  # found in 0 and 2, missed in 1 and 3

    def breaks_once_two_are_done(logits, masks):
        return -logits.mean((1, 2, 3)) / (1.0 if len(logits) == 4 else 0.0)

    attack = partial(pgd, epsilon=0.1, loss=breaks_once_two_are_done, early_stop=True)
    with pytest.raises(FloatingPointError, match=r"for images \[0, 2\] of the batch after 2 of"):
        attack(lambda x: x[:, :1] - 0.5, images, masks)


@BOTH
def test_names_the_images_whose_gradient_is_not_finite(attack, model, images, masks):
    def root(z, m):  # infinite slope at zero
        return (z * torch.tensor([1.0, 0, 1, 1]).view(-1, 1, 1, 1)).abs().mean((1, 2, 3)).sqrt()

    with pytest.raises(FloatingPointError, match=r"finite gradient, .* images \[1\]"):
        attack(model, images, masks, epsilon=EPSILON, loss=root)


def no_grad_tower(model):
    def forward(images):
        with torch.no_grad():
            features = model(images)
        return features * model.conv.bias  # still requires grad, as trained decoders do

    return forward


def constant(model):
    return lambda images: model(images).detach()


@BOTH
@pytest.mark.parametrize("break_graph", [no_grad_tower, constant])
def test_explains_a_model_without_a_path_to_the_pixels(attack, break_graph, model, images, masks):
    with pytest.raises(RuntimeError, match=r"back to the pixels.*no_grad.*CLIPSeg"):
        attack(break_graph(model), images, masks, epsilon=EPSILON)


@BOTH
def test_warns_once_when_gradients_are_zero(attack, model, images, masks):
    def saturated(x):  # all but the first image
        return model(x) + torch.tensor([0.0, 1e4, 1e4, 1e4]).view(-1, 1, 1, 1)

    with pytest.warns(ZeroGradientWarning, match="for 3 of 4 images") as caught:
        attack(saturated, images, masks, epsilon=EPSILON, loss=dice)
    assert len(caught) == 1


def test_one_flat_step_is_enough_to_warn(model, images, masks):
    calls = []

    def flat_at_first(logits, masks):
        calls.append(None)
        return logits.mean((1, 2, 3)) * (0.0 if len(calls) == 1 else 1.0)

    with pytest.warns(ZeroGradientWarning, match="for 4 of 4 images at one step or more"):
        pgd(model, images, masks, epsilon=EPSILON, steps=3, loss=flat_at_first)


def test_half_precision_logits_do_not_make_half_precision_losses(model, images, masks):
    def exact(logits, masks):
        assert logits.dtype == torch.float32
        return logits.mean((1, 2, 3))

    adversarial = fgsm(lambda x: model(x).bfloat16(), images, masks, epsilon=EPSILON, loss=exact)
    assert adversarial.dtype == torch.float32
