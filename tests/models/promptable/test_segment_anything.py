"""SAM, HQ-SAM and SAM 2 in pixel space beside Hugging Face's own forward pass."""

import json
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from palpate.models import find_family, load_model, save_checkpoint
from palpate.models.check import examine
from palpate.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD

from ..tiny import same
from . import tiny_networks
from .gradients import along

NETWORKS = {
    "sam": tiny_networks.sam,
    "sam_hq": lambda: tiny_networks.sam("HQ"),
    "sam2": tiny_networks.sam2,
}
PROMPTS, BOXES = ["polyp", "skin"], [(0.1, 0.2, 0.5, 0.6), (0.3, 0.2, 0.9, 0.8)]


@pytest.fixture(scope="module", params=NETWORKS)
def folder(request, tmp_path_factory):
    place = tmp_path_factory.mktemp(request.param)
    NETWORKS[request.param]().save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def model(folder):
    return load_model(folder)


@pytest.fixture
def images():
    return torch.rand(2, 3, 40, 60, generator=torch.Generator().manual_seed(0))


def theirs(folder, images):
    """By hand, from what the papers and image processors say: canvas, mask, back again."""
    import transformers

    kind = json.loads((folder / "config.json").read_text())["model_type"]
    name = {"sam": "Sam", "sam_hq": "SamHQ"}.get(kind, "Sam2")
    net = getattr(transformers, f"{name}Model").from_pretrained(folder).eval()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    stretched = name == "Sam2"
    size = (64, 64) if stretched else (43, 64)  # the longer side becomes 64
    resized = F.interpolate(images, size, mode="bilinear", antialias=True)
    pixels = F.pad((resized - mean) / std, (0, 0, 0, 64 - size[0]))
    scale = torch.tensor([size[1], size[0], size[1], size[0]])
    boxes = torch.stack([torch.tensor(box) * scale for box in BOXES])[:, None]
    with torch.no_grad():
        found = net(pixel_values=pixels, input_boxes=boxes, multimask_output=False).pred_masks[:, 0]
    if not stretched:
        found = F.interpolate(found, (64, 64), mode="bilinear")[:, :, : size[0]]
    return F.interpolate(found, images.shape[2:], mode="bilinear")


def test_answers_like_hugging_face(model, folder, images):
    with torch.no_grad():
        same(model(images, PROMPTS, BOXES), theirs(folder, images))


def test_sam2_as_its_authors_publish_it_is_read_without_its_memory(images, tmp_path):
    tiny_networks.sam2("Video").save_pretrained(tmp_path)
    with torch.no_grad():
        same(load_model(tmp_path)(images, PROMPTS, BOXES), theirs(tmp_path, images))


def test_a_gradient_reaches_every_pixel_and_is_the_true_one(model, images):
    gradient, foretold, change = along(
        model, images, partial(model.answer, boxes=BOXES, size=images.shape[2:]), length=1e-6
    )
    assert (gradient != 0).all()
    torch.testing.assert_close(change, foretold, rtol=1e-4, atol=0)


def test_passes_its_examination(model, images):
    findings = {finding.name: finding for finding in examine(model, images, PROMPTS, BOXES)}
    assert {f.status for f in findings.values()} == {"pass"}, findings


def test_the_box_decides_and_the_text_does_not(model, images):
    with torch.no_grad():
        asked = model(images, PROMPTS, BOXES)
        assert model(images, ["x", "y"], BOXES).equal(asked)
        assert model(images, boxes=BOXES).equal(asked)
        assert (model(images, PROMPTS, BOXES[::-1]) - asked).abs().max() > 0.01
    assert model.wants_boxes
    assert not model.text_conditioned


@pytest.mark.parametrize("boxes", [None, [], BOXES[:1]])
def test_one_box_per_image_is_needed(model, images, boxes):
    with pytest.raises(ValueError, match=r"expected boxes=\[...\] with one .* for 2 images, got"):
        model(images, PROMPTS, boxes)


def test_a_box_in_pixels_is_refused(model, images, unchecked):
    with pytest.raises(ValueError, match=r"Expected a box of left, top.*got \(10, 20, 50, 60\)"):
        model(images, PROMPTS, [(10, 20, 50, 60), BOXES[0]])


def test_the_deprecated_prompt_still_brings_its_box(model, images):
    with pytest.warns(DeprecationWarning, match="pass boxes to the model"):
        from palpate.data import Prompt
    prompts = [Prompt(text, box) for text, box in zip(PROMPTS, BOXES, strict=True)]
    with torch.no_grad():
        assert model(images, prompts).equal(model(images, PROMPTS, BOXES))
        with pytest.raises(ValueError, match="for 2 images, got 1"):
            model(images, [prompts[0], "skin"])


def test_is_told_by_its_configuration(folder):
    assert find_family(str(folder))[0] == "segment-anything"


def test_margin_and_jitter_move_the_box_alike_every_time(model, folder, images):
    rough = load_model(folder, options={"margin": 0.1, "jitter": 0.2}, seed=1)
    wide = load_model(folder, options={"margin": 0.1})
    grown = [(0.06, 0.16, 0.54, 0.64), (0.24, 0.14, 0.96, 0.86)]
    with torch.no_grad():
        same(wide(images, PROMPTS, BOXES), model(images, PROMPTS, grown))
        answers = rough(images, PROMPTS, BOXES)
        assert (answers - wide(images, PROMPTS, BOXES)).abs().max() > 1e-3
        torch.testing.assert_close(rough(images[1:], PROMPTS[1:], BOXES[1:]), answers[1:])
        other = load_model(folder, options={"margin": 0.1, "jitter": 0.2}, seed=2)
        assert (answers - other(images, PROMPTS, BOXES)).abs().max() > 1e-3
    assert len({m.base_hash for m in (rough, wide, other)}) == 3  # rows of them do not mix


@pytest.mark.parametrize("learns", [pytest.param("decoder", marks=pytest.mark.slow), "all"])
def test_a_checkpoint_brings_what_it_learnt_and_its_options(folder, images, learns, tmp_path):
    model = load_model(folder, options={"margin": 0.1, "jitter": 0.1}, seed=4)
    before = model(images, PROMPTS, BOXES)
    model.learn(learns)
    logits = model.train()(images, PROMPTS, BOXES)
    logits.square().sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.sub_(parameter.grad, alpha=1e-3)
    save_checkpoint(model.eval(), tmp_path)
    again = load_model(tmp_path)
    assert again(images, PROMPTS, BOXES).equal(model(images, PROMPTS, BOXES))
    assert (again(images, PROMPTS, BOXES) - before).abs().max() > 1e-5
    assert again.placing == model.placing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margn": 1}, "among margin, jitter, got 'margn'.*Did you mean 'margin'"),
        ({"margin": -1}, "Expected margin from 0 to 10"),
        ({"jitter": "much"}, "Expected jitter from 0 to 0.45"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_options_that_make_no_sense_are_refused(folder, options, message):
    with pytest.raises(ValueError, match=message):
        load_model(folder, options=options)


def test_weights_that_do_not_fit_are_refused(folder, tmp_path, capfd):
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    first = sorted(name for name in state if name.startswith("mask_decoder."))[0]
    save_file(
        {k: v for k, v in state.items() if k != first} | {"odd": torch.ones(1)},
        tmp_path / "model.safetensors",
    )
    with pytest.raises(ValueError, match=rf"1 tensors are missing \({first}\), 1 are not expected"):
        load_model(tmp_path)
    save_file(state | {first: torch.ones(3, 3)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises((ValueError, FileNotFoundError)):
        load_model(tmp_path)
    assert "".join(capfd.readouterr()) == ""  # said once, by the error
