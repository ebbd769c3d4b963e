"""Grounding DINO and SAM as one model: what it answers, and what a gradient sees of it."""

import functools
import json
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from palpate.models import find_family, load_model, save_checkpoint
from palpate.models.check import examine
from palpate.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from palpate.models.promptable.grounded import Grounding

from ..tiny import same
from . import tiny_networks
from .wordings import try_wordings

PROMPTS = ["Polyp", "small skin"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    detector, segmenter = (tmp_path_factory.mktemp(name) for name in ("detector", "segmenter"))
    tiny_networks.grounding_dino().save_pretrained(detector)
    tiny_networks.write_words(detector)
    size = {"size": {"shortest_edge": 64, "longest_edge": 84}}
    (detector / "preprocessor_config.json").write_text(json.dumps(size))
    tiny_networks.sam().save_pretrained(segmenter)
    return {"detector": str(detector), "segmenter": str(segmenter)}


@pytest.fixture(scope="module")
def new(folders):
    """Loads a model that the test may change."""
    return lambda **options: load_model("grounded-sam", options=folders | options)


@pytest.fixture(scope="module")
def load(new):
    """Loads each model once; nobody may change it."""
    return functools.cache(new)


@pytest.fixture
def images():
    return torch.rand(2, 3, 40, 60, generator=torch.Generator().manual_seed(0))


def gradient(model, images, **boxes):
    points = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(model(points, PROMPTS, **boxes).square().sum(), points)
    return found


def theirs(folders, image, text):
    """Box and score of Hugging Face's detector and rule, one image at a time."""
    from transformers import BertTokenizer, GroundingDinoForObjectDetection

    net = GroundingDinoForObjectDetection.from_pretrained(folders["detector"]).eval()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    pixels = F.interpolate(image, (56, 84), mode="bilinear", antialias=True)
    tokens = BertTokenizer.from_pretrained(folders["detector"])(text, return_tensors="pt")
    with torch.no_grad():
        found = net(pixel_values=(pixels - mean) / std, **tokens)
    score, best = found.logits.sigmoid().max(-1)[0][0].max(0)
    x, y, width, height = found.pred_boxes[0, best]
    return torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2]), score


def test_finds_the_box_and_cuts_out_the_mask_that_hugging_face_would(load, folders, images):
    model, segmenter = load(), load_model(folders["segmenter"])
    with torch.no_grad():
        found, logits = model.find(images, PROMPTS), model(images, PROMPTS)
        for row, text in enumerate(["polyp.", "small skin."]):
            box, score = theirs(folders, images[row : row + 1], text)
            same(found.boxes[row], box.clamp(0, 1))
            same(found.scores[row].sigmoid(), score)
            boxes = found.boxes[row : row + 1].tolist()
            same(logits[row : row + 1], segmenter(images[row : row + 1], boxes=boxes))


@pytest.mark.reference
@pytest.mark.parametrize(("shortest", "longest"), [(800, 1333), (64, 84), (800, 800)])
def test_the_detector_gets_the_sizes_that_hugging_face_gives_it(shortest, longest):
    from transformers.image_transforms import get_size_with_aspect_ratio

    ours = Grounding(shortest=shortest, longest=longest)
    heights = [1, 31, 63, 64, 288, 352, 500, 529, 576, 720, 799, 800, 960, 1024, 1072, 1333, 2000]
    for height in heights:
        for width in range(40, 2100, 7):
            for size in ((height, width), (width, height)):
                assert ours.size(*size) == get_size_with_aspect_ratio(size, shortest, longest)
    if shortest == 800:
        assert ours.size(288, 384) == ((800, 1066) if longest == 1333 else (600, 800))


def test_passes_its_examination_and_admits_what_no_gradient_sees(load, images):
    model = load()
    findings = {finding.name: finding for finding in examine(model, images, PROMPTS)}
    assert {f.status for f in findings.values()} == {"pass"}, findings
    assert model.is_differentiable is False
    assert model.text_conditioned
    assert not model.wants_boxes


def test_without_the_box_the_gradient_is_that_of_the_segmenter_alone(load, folders, images):
    model, segmenter = load(box_gradient=False), load_model(folders["segmenter"])
    found = model.find(images, PROMPTS)
    alone = gradient(segmenter, images, boxes=found.boxes.tolist())
    assert (alone != 0).all()
    same(gradient(model, images), alone)
    assert (gradient(load(), images) - alone).abs().max() > 1e-2 * alone.abs().max()


def test_the_score_decides_alike_on_either_path(load, images):
    with torch.no_grad():
        scores = load().find(images, PROMPTS).scores.sigmoid()
        between = scores.double().mean().item()  # one prompt finds its box, the other does not
        hard = load(box_threshold=between)(images, PROMPTS)
        smooth = load(box_threshold=between, score_path=True)(images, PROMPTS)
        plain = load()(images, PROMPTS)
    assert (hard > 0).equal(smooth > 0)
    found = scores > between
    assert found.sum() == 1
    assert hard[found].equal(plain[found])
    assert (hard[~found] <= 0).all()


def test_the_score_path_shows_how_sure_the_detector_is(load, images):
    threshold = (load().find(images, PROMPTS).scores.min() - 0.05).sigmoid().item()
    kept = {"box_threshold": threshold, "box_gradient": False}
    without, with_score = (load(**kept, score_path=path) for path in (False, True))
    assert (gradient(with_score, images) - gradient(without, images)).abs().max() > 1e-3
    missed = load(box_threshold=0.9999, box_gradient=False)
    assert (gradient(missed, images) != 0).any()  # never a plateau that looks like robustness


def test_a_checkpoint_brings_both(new, images, tmp_path):
    model = new(score_path=True)
    model.learn("decoder")
    trained = [name for name, p in model.net.named_parameters() if p.requires_grad]
    assert all(name.startswith("segmenter.mask_decoder.") for name in trained)
    with torch.no_grad():
        for parameter in model.learners("decoder"):
            parameter.add_(0.01)
    save_checkpoint(model, tmp_path)
    assert load_model(tmp_path)(images, PROMPTS).equal(model(images, PROMPTS))


def test_where_the_decoder_learns_the_detector_drops_nothing(new, images):
    model = new()
    model.learn("decoder")
    model.train()
    assert not any(part.training for part in model.net.detector.modules())
    with torch.no_grad():
        assert model(images, PROMPTS).equal(model(images, PROMPTS))


@pytest.mark.usefixtures("unchecked")
def test_what_makes_no_pair_is_refused(load, folders):
    assert find_family("grounded-sam") == ("grounded-sam", None)
    for options, message in (
        ({}, "needs the option detector"),
        (folders | {"detector": folders["segmenter"]}, "detector to be a grounding-dino, got.*sam"),
        (folders | {"box_threshold": 2}, "box_threshold between 0 and 1, got 2"),
        (folders | {"threshold": 0.3}, "got 'threshold'.*Did you mean 'box_threshold'"),
    ):
        with pytest.raises(ValueError, match=message):
            load_model("grounded-sam", options=options)


def test_other_wordings_are_tried_out_on_it(new):
    model = new()
    # A square image of 64 px is one pixel at its deepest level, which it cannot normalise.
    model.grounding = replace(model.grounding, shortest=100, longest=100)
    try_wordings(model, ("text-levels", "text-negation"), images=1)
