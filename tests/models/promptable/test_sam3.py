"""SAM 3 asked with text beside Hugging Face's own forward pass."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from palpate.models import find_family, load_model
from palpate.models.check import examine

from .. import tiny
from . import tiny_networks
from .gradients import along
from .wordings import try_wordings

PROMPTS = ["polyp", "a skin polyp"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("sam3")
    tiny_networks.sam3(tiny.write_tokenizer(place)).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def model(folder):
    return load_model(folder)


@pytest.fixture
def images():
    return torch.rand(2, 3, 40, 60, generator=torch.Generator().manual_seed(0))


def test_answers_like_hugging_face(model, folder, images):
    from transformers import CLIPTokenizer, Sam3Model

    net = Sam3Model.from_pretrained(folder).eval()
    pixels = (F.interpolate(images, (28, 28), mode="bilinear", antialias=True) - 0.5) / 0.5
    read = CLIPTokenizer.from_pretrained(folder)
    for row, prompt in enumerate(PROMPTS):  # one by one, and so without any padding
        tokens = torch.tensor([read(prompt)["input_ids"]])
        with torch.no_grad():
            found = net(
                pixel_values=pixels[row : row + 1],
                input_ids=tokens,
                attention_mask=torch.ones_like(tokens),
            ).semantic_seg
            ours = model(images, PROMPTS)[row : row + 1]
        tiny.same(ours, F.interpolate(found, (40, 60), mode="bilinear"))


def test_the_gradient_of_every_pixel_is_the_true_one(model, images):
    gradient, foretold, change = along(
        model, images, partial(model.answer, prompts=PROMPTS), length=1e-4
    )
    assert (gradient != 0).all()
    # Its rotary positions compute in single precision whatever they are given.
    torch.testing.assert_close(change, foretold, rtol=1e-2, atol=0)


def test_passes_its_examination(model, images):
    findings = {finding.name: finding for finding in examine(model, images, PROMPTS)}
    assert {f.status for f in findings.values()} == {"pass"}, findings
    assert model.text_conditioned
    assert not model.wants_boxes


def test_is_told_by_its_configuration(folder):
    assert find_family(str(folder))[0] == "sam3"


def test_needs_a_tokenizer_and_one_prompt_per_image(folder, images, tmp_path):
    model = load_model(folder)
    for prompts in (None, ["polyp"]):
        with pytest.raises(ValueError, match="Expected a list of 2 prompts"):
            model(images, prompts)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(FileNotFoundError, match="has no tokenizer"):
        load_model(tmp_path)(images, PROMPTS)
    tokenizer = load_model(tmp_path, tokenizer=folder)
    assert tokenizer(images, PROMPTS).equal(model(images, PROMPTS))


def test_other_wordings_are_tried_out_on_it(model):
    try_wordings(model)
