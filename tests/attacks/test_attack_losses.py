import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from palpate.attacks import LOSSES
from palpate.attacks.losses import AnnealedDice, bce, bce_dice, dice, margin

every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
# The hinge leaves alone what is right by far; what the notebooks compute has tests of its own.
RISING = {k: v for k, v in LOSSES.items() if k != "lovasz_hinge" and "notebook" not in k}
# At its last temperature, too, the gradient of a pixel far from the boundary is 0.
RISING["annealed_dice"] = AnnealedDice().at(0.0)


@pytest.fixture
def logits():
    return 3 * torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def test_bce_is_minus_the_log_of_the_probability_of_the_truth(logits, masks):
    right = torch.where(masks, logits.sigmoid(), 1 - logits.sigmoid())
    assert_close(bce(logits, masks), -right.log().mean((1, 2, 3)))


def test_margin_is_how_far_logits_are_on_the_wrong_side(logits, masks):
    assert_close(margin(logits, masks), torch.where(masks, -logits, logits).mean((1, 2, 3)))


def test_dice_of_certain_predictions_is_the_dice_score(masks):
    predictions = masks.roll(1, -1)
    shared = (predictions & masks).sum((1, 2, 3))
    total = predictions.sum((1, 2, 3)) + masks.sum((1, 2, 3))
    certain = torch.where(predictions, 50.0, -50.0)
    assert_close(dice(certain, masks), 1 - (2 * shared + 1) / (total + 1))
    assert_close(dice(torch.where(masks, 50.0, -50.0), masks), torch.zeros(4))


def test_dice_of_an_empty_mask_punishes_what_is_found():
    empty = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    nothing = torch.full((1, 1, 4, 4), -50.0)
    something = nothing.clone()
    something[0, 0, 0, 0] = 50.0
    assert dice(nothing, empty).item() == pytest.approx(0)
    assert dice(something, empty).item() == pytest.approx(0.5)


def test_the_sum_is_a_sum(logits, masks):
    assert_close(bce_dice(logits, masks), bce(logits, masks) + dice(logits, masks))


@every_loss
def test_looks_at_one_image_at_a_time(loss, logits, masks):
    alone = [loss(z[None], m[None]) for z, m in zip(logits, masks, strict=True)]
    assert_close(loss(logits, masks), torch.cat(alone))


@pytest.mark.parametrize("loss", RISING.values(), ids=RISING)
def test_grows_when_a_pixel_goes_wrong(loss, logits, masks):
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(logits, masks).sum(), logits)
    assert ((gradient > 0) == ~masks).all()


@every_loss
@given(size=st.floats(0, 1e4), wrong=st.booleans())
def test_saturated_logits_have_finite_losses_and_gradients(loss, size, wrong):
    masks = torch.tensor([True, False]).view(1, 1, 1, 2)
    logits = size * torch.where(masks ^ wrong, 1.0, -1.0)
    logits.requires_grad_()
    value = loss(logits, masks)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert value.isfinite().all()
    assert gradient.isfinite().all()


@every_loss
@pytest.mark.parametrize("fill", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("truth", [False, True])
def test_images_of_one_value_have_finite_losses_and_gradients(loss, fill, truth):
    masks = torch.full((1, 1, 3, 3), truth)
    logits = torch.full((1, 1, 3, 3), fill, requires_grad=True)
    value = loss(logits, masks)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert value.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("loss", [bce, bce_dice, margin])
def test_wrong_pixels_keep_a_gradient_however_wrong(loss):
    masks = torch.tensor([True, False]).view(1, 1, 1, 2)
    logits = torch.where(masks, -1e4, 1e4).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(logits, masks).sum(), logits)
    assert (gradient.abs() > 0.1).all()
