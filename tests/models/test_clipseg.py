"""Our own forward pass against Hugging Face's, on a CLIPSeg of a few thousand parameters."""

import pytest
import torch

from palpate.models import load_model
from palpate.models.clip.config import ClipSegConfig
from palpate.models.clipseg.clipseg import CLIPSeg

from . import tiny

PROMPTS = ["a polyp", "skin, dark"]


def theirs(hf, model, images, prompts):
    tokens = model.tokenizer(prompts)
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    return hf(pixel_values=model.to_network(images), **inputs).logits.unsqueeze(1)


@pytest.mark.reference
@pytest.mark.parametrize("side", [32, 64, 80], ids=["trained grid", "larger", "odd grid"])
def test_logits_equal_hugging_faces(side, hf, clipseg):
    model = load_model(clipseg)
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(side))
    with torch.no_grad():
        tiny.same(model(images, PROMPTS), theirs(hf, model, images, PROMPTS))


@pytest.mark.reference
@pytest.mark.parametrize(
    "changes",
    [
        {"use_complex_transposed_convolution": False},
        {"conditional_layer": 2},
        {"extract_layers": [0, 4]},
        {"extract_layers": [3, 1]},
        {"vision": {"hidden_act": "gelu", "layer_norm_eps": 1e-3}},
        {"text": {"hidden_act": "gelu", "num_hidden_layers": 2, "hidden_size": 16}},
    ],
    ids=["plain head", "late FiLM", "two taps", "taps in another order", "vision", "text"],
)
def test_logits_equal_hugging_faces_for_other_configurations(changes, vocabulary, pixels, tmp_path):
    hf = tiny.hugging_face(tiny.config(vocabulary, **changes))
    hf.save_pretrained(tmp_path)
    tiny.write_tokenizer(tmp_path)
    model = load_model(tmp_path)
    with torch.no_grad():
        tiny.same(model(pixels, PROMPTS), theirs(hf, model, pixels, PROMPTS))


@pytest.mark.reference
def test_old_configurations_find_the_end_of_a_text_as_hugging_face_does(
    vocabulary, pixels, tmp_path
):
    hf = tiny.hugging_face(tiny.config(vocabulary, text={"eos_token_id": 2}))
    hf.save_pretrained(tmp_path)
    tiny.write_tokenizer(tmp_path)
    model = load_model(tmp_path)
    assert model.net.config.text.eos_token_id == 2
    with torch.no_grad():
        tiny.same(model(pixels, PROMPTS), theirs(hf, model, pixels, PROMPTS))


def test_only_our_forward_gives_a_pixel_gradient(hf, clipseg, pixels):
    model = load_model(clipseg)
    ours, hfs = pixels.clone().requires_grad_(), pixels.clone().requires_grad_()
    model(ours, PROMPTS).sum().backward()
    theirs(hf, model, hfs, PROMPTS).sum().backward()
    assert hfs.grad is None
    assert ours.grad.isfinite().all()
    assert (ours.grad != 0).all(dim=1).float().mean() > 0.99
    hf.zero_grad()


def test_pixel_gradient_is_the_slope_of_the_logits(clipseg, pixels):
    model = load_model(clipseg).double()
    images = pixels.double().requires_grad_()
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(1)).double()

    def total(step):
        return model.net(model.to_network(images + step * direction), condition).sum()

    condition = model.condition(PROMPTS)
    (gradient,) = torch.autograd.grad(total(0.0), images)
    with torch.no_grad():
        slope = (total(1e-7) - total(-1e-7)) / 2e-7
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-5, atol=0)


def test_images_of_a_batch_do_not_influence_each_other(clipseg, pixels):
    model = load_model(clipseg)
    with torch.no_grad():
        together = model(pixels, PROMPTS)
        alone = [model(x[None], [p]) for x, p in zip(pixels, PROMPTS, strict=True)]
    tiny.same(together, torch.cat(alone))


def test_blocks_beyond_the_deepest_tap_are_not_computed(clipseg, pixels):
    model = load_model(clipseg)
    with torch.no_grad():
        before = model(pixels, PROMPTS)
        for parameter in model.net.clip.vision_model.encoder.layers[4].parameters():
            parameter.fill_(torch.nan)
        torch.testing.assert_close(model(pixels, PROMPTS), before, rtol=0, atol=0)


def test_a_fresh_model_trains_nothing_and_is_in_evaluation_mode(clipseg):
    model = load_model(clipseg)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def published(**changes):
    """The configuration of CIDAS/clipseg-rd64-refined: ViT-B/16 read after blocks 3, 6 and 9."""
    return ClipSegConfig.from_hf(
        {
            "model_type": "clipseg",
            "vision_config": {"patch_size": 16},
            "use_complex_transposed_convolution": True,
            **changes,
        }
    )


@pytest.fixture
def full_size():
    with torch.device("meta"):  # sizes without numbers
        return CLIPSeg(published())


def test_full_size_has_the_published_number_of_parameters(full_size):
    assert sum(p.numel() for p in full_size.parameters()) == 150_747_746
    assert sum(p.numel() for p in full_size.decoder.parameters()) == 1_127_009


def test_plain_decoder_has_the_published_number_of_parameters():
    with torch.device("meta"):
        net = CLIPSeg(published(use_complex_transposed_convolution=False))
    assert sum(p.numel() for p in net.decoder.parameters()) == 1_073_153


def test_352_pixels_make_485_tokens(full_size):
    embed = full_size.clip.vision_model.embeddings
    assert embed(torch.empty(1, 3, 352, 352, device="meta")).shape == (1, 485, 768)


def test_configuration_survives_writing_and_reading():
    config = published(extract_layers=[2, 5], reduce_dim=32)
    assert config.extract_layers == (2, 5)
    assert ClipSegConfig.from_hf(config.to_hf()) == config


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"extract_layers": [3, 12]}, r"extract_layers among the 12 layers .*got \[3, 12\]"),
        ({"extract_layers": []}, "extract_layers among the 12 layers"),
        ({"conditional_layer": 3}, "conditional_layer below 3, got 3"),
        ({"model_type": "clip"}, "model_type 'clipseg'.*got model_type 'clip'"),
    ],
)
def test_configurations_that_contradict_themselves_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        published(**wrong)
