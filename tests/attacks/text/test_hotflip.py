"""HotFlip: exact where the model is linear, and never credited with what its text does not do."""

from itertools import product

import pytest
import torch
from torch.testing import assert_close

from palpate.attacks import ZeroGradientWarning
from palpate.attacks.losses import margin
from palpate.attacks.text import TEXT_ATTACKS, PromptSource, View, attack_text, hotflip

from .listening import WORDS, WordSum, word_sum


@pytest.fixture
def linear():
    masks = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.5
    # No pixel is ever foreground, so that the loss alone decides.
    view = View(word_sum(), torch.full((1, 3, 8, 8), 0.5), masks, loss=margin, threshold=1e6)
    return view, PromptSource("red polyp skin")


def exchanges(prompt):
    words = prompt.split()
    for place, word in product(range(len(words)), WORDS[2:]):
        if word != words[place]:
            yield " ".join([*words[:place], word, *words[place + 1 :]])


@pytest.mark.parametrize("top", [1, 5])
def test_each_flip_is_the_best_exchange_where_the_model_is_linear(top, linear):
    view, source = linear
    way = hotflip(view, source, flips=2, top=top)
    before = source.prompt
    for text in way:
        possible = [t for t in exchanges(before) if t != source.prompt]
        assert text == possible[view.harm(possible).worst()]
        before = text


def test_the_text_does_when_read_anew_what_is_claimed(model, pixels, mask, view, source, random):
    finding = attack_text(TEXT_ATTACKS["text-hotflip"], view, source, generator=random())
    again = View(model, pixels, mask).harm([finding.prompt])
    assert_close(again.dsc, torch.tensor([finding.dsc]), rtol=0, atol=1e-6)
    assert_close(again.loss, torch.tensor([finding.loss]), rtol=0, atol=1e-6)
    assert isinstance(finding.prompt, str)
    assert finding.condition is None


def test_it_finds_worse_texts_than_chance(view, source, random):
    letters = [chr(int(n)) for n in torch.randint(97, 123, (60,), generator=random())]
    places = torch.randint(1, len(source.prompt) - 1, (60,), generator=random()).tolist()
    drawn = [
        source.prompt[:i] + letter + source.prompt[i + 1 :]
        for i, letter in zip(places, letters, strict=True)
    ]
    (flipped,) = hotflip(view, source, flips=1, top=16)
    harm = view.harm([flipped, *drawn])
    assert harm.dsc[0] <= harm.dsc[1:].quantile(0.1)


def test_texts_are_new_readable_and_without_special_tokens(view, source):
    way = hotflip(view, source, flips=4)
    assert len(set(way)) == 4
    assert source.prompt not in way
    for text in way:
        tokens = view.model.tokens([text])[0].tolist()
        assert set(tokens[1:-1]).isdisjoint(view.model.special_tokens)
        assert "\ufffd" not in text


def test_it_is_reproducible_and_works_where_gradients_are_off(view, source):
    way = hotflip(view, source)
    assert hotflip(view, source) == way
    with torch.inference_mode():
        assert hotflip(view, source) == way


def test_an_empty_prompt_has_nothing_to_flip(view):
    assert hotflip(view, PromptSource("")) == []


def test_a_gradient_of_zero_is_said_aloud():
    pixels = torch.full((1, 3, 8, 8), 0.5)
    view = View(word_sum(), pixels, pixels[:, :1] > 2, loss=lambda x, _: 0 * x.flatten(1).sum(1))
    with pytest.raises(ZeroGradientWarning, match="'polyp' was zero"):
        hotflip(view, PromptSource("polyp"))


def test_senseless_numbers_are_refused(view, source):
    for settings in ({"flips": 0}, {"top": 0}):
        with pytest.raises(ValueError, match="flips >= 1 and top >= 1"):
            hotflip(view, source, **settings)


def test_special_tokens_are_never_put_in_place_of_words(linear):
    """Not even where the estimate says that nothing would do more harm."""
    view, source = linear
    model = view.model
    slope = (model.pixels * torch.where(view.masks, -1.0, 1.0).flatten()).mean(1)
    strengths = -torch.arange(1.0, 1.0 + len(WORDS)) / 10
    strengths[:2] = 9.0
    tempting = WordSum(strengths[:, None] * slope, model.pixels)
    fresh = View(tempting, view.images, view.masks, loss=margin, threshold=1e6)
    for text in hotflip(fresh, source, flips=2, top=1):
        assert len(text.split()) == 3


class Halves:
    """A model that can be taken apart, but shows no tokens."""

    def __init__(self, model):
        self.encode, self.read, self.decode = model.encode, model.read, model.decode

    def __call__(self, images, prompts):
        return self.decode(self.encode(images), self.read(prompts))


def test_a_model_that_hides_its_tokens_is_refused(model, pixels, mask, source):
    with pytest.raises(ValueError, match=r"shows its tokens.*got Halves"):
        hotflip(View(Halves(model), pixels, mask), source)


def test_a_model_without_special_tokens_is_fine(linear):
    class Plain(WordSum):
        special_tokens = frozenset()

    view, source = linear
    plain = Plain(view.model.vectors, view.model.pixels)
    view = View(plain, view.images, view.masks, loss=margin, threshold=1e6)
    assert hotflip(view, source, flips=1)
