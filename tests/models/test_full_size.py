"""A CLIPSeg of the published size, 150.7 million parameters, drawn at random."""

import pytest
import torch

from palpate.models import load_model

from . import tiny

PROMPTS = ["one small pink round polyp"]


@pytest.fixture(scope="module")
def full_size(vocabulary, tmp_path_factory):
    """Hugging Face's model and the directory it wrote."""
    from transformers import CLIPSegConfig

    configuration = CLIPSegConfig(
        vision_config={"patch_size": 16},
        text_config={"eos_token_id": vocabulary - 1},
        use_complex_transposed_convolution=True,
    )
    hf = tiny.hugging_face(configuration)
    folder = tmp_path_factory.mktemp("full-size")
    hf.save_pretrained(folder)
    tiny.write_tokenizer(folder)
    yield hf, folder
    (folder / "model.safetensors").unlink()  # 600 MB


@pytest.mark.slow
@pytest.mark.reference
def test_the_published_size_equals_hugging_face(full_size):
    hf, folder = full_size
    model = load_model(folder)
    assert sum(p.numel() for p in model.parameters()) == 150_747_746
    tokens = model.tokenizer(PROMPTS)
    text = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    for side in (352, 224):
        images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(side))
        with torch.no_grad():
            theirs = hf(pixel_values=model.to_network(images), **text).logits
            tiny.same(model(images, PROMPTS)[:, 0], theirs.view(1, side, side))
    assert theirs.std() > 0.1  # a scale at which 1e-5 means something


@pytest.mark.slow
def test_the_published_size_gives_pixel_gradients_through_published_adapters(full_size):
    _, folder = full_size
    model = load_model(folder, "dense-vl")
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 2_974_464
    images = torch.rand(1, 3, 224, 224, requires_grad=True)
    model(images, PROMPTS).sum().backward()
    assert images.grad.isfinite().all()
    assert images.grad.abs().sum() > 0
    deepest = model.net.clip.vision_model.encoder.layers[8].after_mlp
    assert deepest.up.weight.grad.abs().sum() > 0
