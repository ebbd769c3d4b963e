"""The model in two halves says what it says as a whole."""

import pytest
import torch

from palpate.attacks.text import Prompted, Spelled
from palpate.models import load_model

from . import tiny

PROMPTS = ["a polyp", "skin, dark", "", "polyp polyp"]


def near(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@pytest.fixture
def model(clipseg):
    return load_model(clipseg).requires_grad_(False)


@pytest.mark.parametrize("size", [(32, 32), (45, 70)])
@pytest.mark.parametrize("adapter", [None, "dense-vlc", "shallow-vlc"])
def test_one_image_and_many_texts_give_the_logits_of_the_ordinary_forward(size, adapter, clipseg):
    model = load_model(clipseg, adapter, init="paper")
    images = torch.rand(1, 3, *size)
    with torch.no_grad():
        plain = model(images.expand(4, -1, -1, -1), PROMPTS)
        cached = model.decode(model.encode(images), model.read(PROMPTS))
    assert plain.shape == cached.shape == (4, 1, *size)
    assert (plain[0] - plain[1]).abs().max() > 1e-4
    near(cached, plain)


def test_images_go_with_as_many_conditions(model, pixels):
    logits = model.decode(model.encode(pixels), model.read(PROMPTS[:2]))
    near(logits, model(pixels, PROMPTS[:2]))


def test_a_text_that_is_read_is_not_remembered(model):
    first = model.condition(PROMPTS)
    near(model.read(PROMPTS), first)
    assert len(model._texts) == 4
    model.read([f"polyp {i}" for i in range(10)])
    assert len(model._texts) == 4


def test_texts_can_be_read_from_vectors_and_have_a_gradient_there(model):
    tokens = model.tokens(PROMPTS[:2])
    vectors = model.token_vectors[tokens].requires_grad_()
    conditions = model.read_vectors(vectors, tokens)
    near(conditions, model.read(PROMPTS[:2]))
    model = model.double()
    start, tokens = model.token_vectors[tokens[:1]], tokens[:1]
    assert torch.autograd.gradcheck(
        lambda x: model.read_vectors(x, tokens)[:, :3],
        start.requires_grad_(),
        atol=1e-5,
        fast_mode=True,
    )


def test_gradients_reach_the_pixels_through_both_halves(model, pixels):
    pixels.requires_grad_()
    model.decode(model.encode(pixels), model.read(PROMPTS[:2])).sum().backward()
    two_halves, pixels.grad = pixels.grad, None
    model(pixels, PROMPTS[:2]).sum().backward()
    tiny.same(two_halves, pixels.grad)


@pytest.mark.parametrize("text", ["polyp", "skin in polyp", "", "a b-c 7"])
def test_tokens_spell_the_text_they_came_from(text, model):
    tokens = model.tokens([text])
    (spelled,) = model.texts(tokens)
    assert torch.equal(model.tokens([spelled]), tokens)


def test_special_tokens_are_start_and_end(model, vocabulary):
    assert model.special_tokens == {vocabulary - 2, vocabulary - 1}


def test_it_is_what_attacks_on_texts_ask_for(model):
    assert isinstance(model, Prompted)
    assert isinstance(model, Spelled)
