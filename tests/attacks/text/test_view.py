"""An image asked many times says what it says when asked once."""

import pytest
import torch
from torch.testing import assert_close

from palpate.attacks.losses import bce_dice
from palpate.attacks.text import Harm, View
from palpate.overlap import count, dice

TEXTS = ["polyp", "skin", "", "one small pink round polyp, located in the top left of the image"]


def test_harm_is_that_of_the_ordinary_forward(model, pixels, mask, view):
    with torch.no_grad():
        logits = model(pixels.expand(4, -1, -1, -1), TEXTS)
    masks = mask.expand(4, -1, -1, -1)
    harm = view.harm(TEXTS)
    assert_close(harm.dsc, dice(count(logits > 0, masks)), rtol=0, atol=1e-6)
    assert_close(harm.loss, bce_dice(logits, masks), rtol=0, atol=1e-6)
    assert harm.dsc[3] == 1  # its own prompt
    assert harm.dsc[:3].max() < 1


@pytest.mark.parametrize("at_once", [1, 3])
def test_how_many_are_decoded_at_once_changes_nothing_but_rounding(at_once, model, pixels, mask):
    some, all_ = (View(model, pixels, mask, at_once=n).harm(TEXTS) for n in (at_once, 32))
    assert_close(some.dsc, all_.dsc, rtol=0, atol=1e-6)
    assert_close(some.loss, all_.loss, rtol=0, atol=1e-6)


class Narrow:
    """A prompted model whose decoder holds so many conditions and no more."""

    def __init__(self, model, most):
        self.model, self.most, self.tried = model, most, []
        self.encode, self.read = model.encode, model.read

    def __call__(self, images, prompts):
        return self.decode(self.encode(images), self.read(prompts))

    def decode(self, encoded, condition):
        self.tried.append(len(condition))
        if len(condition) > self.most:
            raise torch.cuda.OutOfMemoryError
        return self.model.decode(encoded, condition)


def test_memory_that_runs_out_halves_the_texts_and_changes_nothing(model, pixels, mask, view):
    narrow = Narrow(model, most=1)
    tight = View(narrow, pixels, mask)
    harm, expected = tight.harm(TEXTS), view.harm(TEXTS)
    assert narrow.tried == [4, 2, 1, 1, 1, 1]
    assert_close(harm.dsc, expected.dsc, rtol=0, atol=1e-6)
    assert_close(harm.loss, expected.loss, rtol=0, atol=1e-6)
    assert tight.harm(TEXTS[:2]).dsc.tolist() == harm.dsc[:2].tolist()
    assert narrow.tried[6:] == [1, 1]  # it remembers


@pytest.mark.parametrize("made", [lambda at: at, lambda at: 2 * at], ids=["same", "made"])
def test_slopes_in_portions_are_those_of_all_together(made, model, pixels, mask, view):
    slopes = []
    for each in (View(Narrow(model, most=2), pixels, mask), view):
        with torch.enable_grad():
            at = model.read(TEXTS[:3]).detach().clone().requires_grad_()
            slopes.append(each.slopes(at, made(at)))
    (ours, harm), (theirs, expected) = slopes
    assert_close(ours, theirs)
    assert ours.abs().sum(1).min() > 0
    assert_close(harm.loss, expected.loss)


def test_memory_that_does_not_hold_one_text_is_reported(model, pixels, mask):
    with pytest.raises(torch.cuda.OutOfMemoryError):
        View(Narrow(model, most=0), pixels, mask).harm(TEXTS)


def test_conditions_do_in_place_of_texts(model, view):
    harms = view.harm(TEXTS), view.harm(model.read(TEXTS))
    assert_close(harms[0].dsc, harms[1].dsc)


def test_equal_scores_go_by_the_loss_then_by_order():
    harm = Harm(torch.tensor([0.5, 0.2, 0.2, 0.9, 0.9]), torch.tensor([9.0, 1.0, 3.0, 2.0, 2.0]))
    assert (harm.worst(), harm.best()) == (2, 3)


def test_a_threshold_other_than_zero_counts(model, pixels, mask):
    assert View(model, pixels, mask, threshold=50.0).harm(TEXTS).dsc.tolist() == [0.0] * 4


def test_it_leaves_the_image_alone_and_works_where_gradients_are_off(model, pixels, mask, view):
    kept = pixels.clone().requires_grad_()
    with torch.inference_mode():
        harm = View(model, kept, mask).harm(TEXTS)
    assert_close(harm.dsc, view.harm(TEXTS).dsc)
    assert kept.grad is None
    assert not harm.loss.requires_grad


def test_more_than_one_image_is_refused(model, pixels, mask):
    with pytest.raises(ValueError, match="Expected one image and at_once >= 1, got 2 and 32"):
        View(model, pixels.repeat(2, 1, 1, 1), mask.repeat(2, 1, 1, 1))


def test_no_candidate_is_refused(view):
    with pytest.raises(ValueError, match="at least one candidate"):
        view.harm([])


def test_a_model_that_cannot_be_taken_apart_is_refused(pixels, mask, unchecked):
    with pytest.raises(ValueError, match=r"encode, read and decode.*got Linear"):
        View(torch.nn.Linear(1, 1), pixels, mask)


def test_answers_that_are_no_numbers_are_refused(model, view):
    broken = model.read(["polyp"]) * torch.nan
    with pytest.raises(FloatingPointError, match="NaN"):
        view.harm(broken)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            lambda z, y: bce_dice(z, y).mean(),
            r"loss of shape \(4,\), one value per image, got \(\)",
        ),
        (lambda z, y: bce_dice(z, y).mean().expand(len(z)), "loss of each image by itself"),
    ],
    ids=["mean", "spread"],
)
def test_a_loss_must_give_each_text_its_own_value(loss, message, model, pixels, mask):
    with pytest.raises(ValueError, match=message):
        View(model, pixels, mask, loss=loss).harm(TEXTS)


def test_a_loss_is_checked_once(model, pixels, mask):
    asked = []

    def counted(logits, masks):
        asked.append(len(logits))
        return bce_dice(logits, masks)

    view = View(model, pixels, mask, loss=counted)
    for _ in range(3):
        view.harm(TEXTS)
    assert asked == [4] * 4
