"""The wrapper: pixels of any size and prompts in, logits of that size out."""

import pytest
import torch

from palpate.models import load_model
from palpate.types import Segmenter

from . import tiny

PROMPTS = ["a polyp", "skin, dark"]


@pytest.fixture
def model(clipseg):
    return load_model(clipseg)


def exact(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("size", [(32, 32), (100, 37), (17, 200), (5, 5), (64, 64)])
def test_logits_have_the_size_of_the_images(size, model):
    images = torch.rand(2, 3, *size, requires_grad=True)
    logits = model(images, PROMPTS)
    assert logits.shape == (2, 1, *size)
    logits.sum().backward()
    assert images.grad.isfinite().all()
    assert (images.grad.flatten(1).norm(dim=1) > 0).all()


def test_it_is_a_segmenter(model):
    assert isinstance(model, Segmenter)


def test_shrinking_is_antialiased(model):
    """One bright column in four: sampling without a filter sees all of them or none."""
    images = torch.zeros(1, 3, 130, 130)
    images[..., ::4] = 1.0
    assert model.input_size(130, 130) == 32
    seen = model.to_network(images) * model.std + model.mean
    assert seen[..., 2:-2].min() > 0.1
    assert seen[..., 2:-2].max() < 0.45


def test_an_image_of_the_networks_size_is_only_normalised(model, pixels):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    torch.testing.assert_close(model.to_network(pixels), expected)


def test_bfloat16_gives_float32_logits_close_to_full_precision(model, pixels):
    with torch.no_grad():
        full = model(pixels, PROMPTS)
        with torch.autocast("cpu", torch.bfloat16):
            half = model(pixels, PROMPTS)
    assert half.dtype == torch.float32
    error = (half - full).norm() / full.norm()
    assert 0 < error < 0.02


def test_every_image_gets_its_own_prompt(model, pixels):
    one = pixels[:1].expand(3, -1, -1, -1)
    with torch.no_grad():
        logits = model(one, ["a polyp", "skin, dark", "a polyp"])
    tiny.same(logits[0], logits[2])
    assert (logits[0] - logits[1]).abs().max() > 1e-3


@pytest.mark.parametrize("prompts", [None, "a polyp", ["a polyp"], ["a", "b", "c"]])
def test_anything_but_one_prompt_per_image_is_refused(prompts, model, pixels):
    with pytest.raises(ValueError, match="list of 2 prompts, one per image, got"):
        model(pixels, prompts)


def test_tokens_do_in_place_of_texts(model, pixels):
    with torch.no_grad():
        tiny.same(model(pixels, model.tokenizer(PROMPTS)), model(pixels, PROMPTS))


def test_a_condition_does_in_place_of_prompts(model, pixels):
    with torch.no_grad():
        condition = model.condition(PROMPTS)
        assert condition.shape == (2, 32)
        exact(model(pixels, condition=condition), model(pixels, PROMPTS))


def test_a_condition_is_one_per_image_and_in_place_of_prompts(model, pixels, unchecked):
    condition = model.condition(PROMPTS)
    with pytest.raises(ValueError, match="one condition for each of 2 images, got 1"):
        model(pixels, condition=condition[:1])
    with pytest.raises(ValueError, match="and prompts too"):
        model(pixels, PROMPTS, condition=condition)


class Counting(torch.nn.Module):
    """Stands before the text tower and notes how many texts are encoded."""

    def __init__(self, tower):
        super().__init__()
        self.tower, self.texts = tower, 0

    def forward(self, tokens, taps=()):
        self.texts += len(tokens)
        return self.tower(tokens, taps)


def counting(model):
    model.net.clip.text_model = Counting(model.net.clip.text_model)
    return model.net.clip.text_model


def test_each_text_is_encoded_once(model, pixels):
    tower = counting(model)
    for _ in range(3):
        model(pixels, ["a polyp", "a polyp"])
        model(pixels.requires_grad_(), PROMPTS)
    assert tower.texts == 2


def test_what_is_remembered_does_not_depend_on_company(clipseg):
    """Not even by rounding: a resumed training meets prompts in another order."""
    alone, together = load_model(clipseg), load_model(clipseg)
    texts = ["a polyp", "skin", "a rather long text, with many words and a polyp"]
    exact(together.condition(texts)[0], alone.condition(texts[:1])[0])


def test_remembered_texts_are_in_full_precision(model):
    with torch.autocast("cpu", torch.bfloat16):
        inside = model.condition(PROMPTS)
    exact(inside, model.condition(PROMPTS))
    assert inside.dtype == torch.float32


def test_texts_learn_while_their_adapters_train(clipseg):
    model = load_model(clipseg, "dense-vl").train()
    model.condition(["a polyp", "skin", "a polyp"]).sum().backward()
    blocks = model.net.clip.text_model.encoder.layers
    assert blocks[0].after_mlp.up.weight.grad.abs().sum() > 0


def step_with(optimizer):
    def change(model):
        parameters = [p for p in model.parameters() if p.requires_grad]
        model.condition(PROMPTS).sum().backward()
        optimizer(parameters).step()

    return change


def load_other(model):
    state = model.net.state_dict()
    model.net.load_state_dict({k: v + 0.01 for k, v in state.items()})


CHANGES = {
    "AdamW": step_with(lambda p: torch.optim.AdamW(p, lr=0.1)),
    "fused AdamW": step_with(lambda p: torch.optim.AdamW(p, lr=0.1, fused=True)),
    "SGD": step_with(lambda p: torch.optim.SGD(p, lr=0.1)),
    "load_state_dict": load_other,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("name", ["dense-vl", "shallow-vl", "shallow-vlc"])
def test_texts_are_read_anew_when_the_weights_changed(name, change, clipseg):
    model = load_model(clipseg, name)
    with torch.no_grad():
        before = model.condition(PROMPTS)
    change(model)
    with torch.no_grad():
        after = model.condition(PROMPTS)
        unremembered = model.condition(model.tokenizer(PROMPTS))
    assert (after - before).abs().max() > 1e-4
    torch.testing.assert_close(after, unremembered, rtol=1e-5, atol=1e-5)


def test_texts_are_read_anew_in_another_precision(model):
    model.condition(PROMPTS)
    assert model.double().condition(PROMPTS).dtype == torch.float64
    assert model.to(torch.bfloat16).condition(PROMPTS).dtype == torch.bfloat16


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_texts_follow_the_model_to_another_device(model, pixels):
    before = model.condition(PROMPTS)
    after = model.to("cuda").condition(PROMPTS)
    assert after.device.type == "cuda"
    tiny.same(after.cpu(), before)
    tiny.same(model(pixels.cuda(), PROMPTS).cpu(), model.cpu()(pixels, PROMPTS))


def test_remembering_texts_keeps_no_graph(clipseg):
    model = load_model(clipseg, "dense-vl")
    with torch.inference_mode():
        model.condition(PROMPTS)
    with torch.no_grad():
        assert not model.condition(PROMPTS).requires_grad


def test_texts_read_in_inference_mode_can_be_attacked_later(model, pixels):
    with torch.inference_mode():
        model(pixels, PROMPTS)
    images = pixels.requires_grad_()
    model(images, PROMPTS).sum().backward()
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0])
def test_a_threshold_is_a_probability(threshold, model):
    with pytest.raises(ValueError, match="threshold between 0 and 1"):
        type(model)(model.net, model.tokenizer, model.preprocessing, threshold=threshold)
