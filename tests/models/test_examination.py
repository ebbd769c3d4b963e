"""What is found out about a model before it is attacked."""

import pytest
import torch
from torch import nn

from palpate import wrap
from palpate.models import load_model
from palpate.models.check import CHECKS, examine
from palpate.models.facts import facts_of
from palpate.prompting import Bound

PROMPTS = ["polyp", "skin", "polyp"]


@pytest.fixture
def images():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Odd(nn.Module):
    """Something is wrong with it."""

    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1)
        nn.init.constant_(self.conv.weight, 0.7)
        nn.init.constant_(self.conv.bias, -0.3)
        self.register_buffer("seen", torch.zeros(()))
        self.function = function

    def forward(self, pixels):
        return self.function(self, self.conv(pixels))


def statuses(model, images, prompts=PROMPTS):
    return {finding.name: finding.status for finding in examine(model, images, prompts)}


def count(net, x):
    net.seen += 1
    return x


WRONG = {
    "draws": (lambda _, x: x + 0.1 * torch.randn_like(x), "determinism"),
    "mixes": (lambda _, x: x - x.mean(0, keepdim=True), "independence of images"),
    "rounds": (lambda _, x: x.round() + 0 * x, "gradient reaches the pixels"),
    "detaches": (lambda _, x: x.detach(), "gradient reaches the pixels"),
    "remembers": (count, "left as it was"),
    "is not a number": (lambda _, x: x / 0 * 0, "answer"),
    "is saturated": (lambda _, x: 1000 * x + 100, "answer"),
}


@pytest.mark.parametrize(("function", "check"), WRONG.values(), ids=WRONG)
def test_each_fault_is_found_by_its_check(function, check, images):
    found = statuses(wrap(Odd(function)), images)
    assert found.keys() == CHECKS.keys()
    assert found[check] in ("warn", "fail")


@pytest.mark.parametrize("error", [KeyError, IndexError, AttributeError, AssertionError])
def test_whatever_a_network_raises_is_a_finding(error, images):
    def stumble(*_):
        raise error("out")

    found = examine(wrap(Odd(stumble)), images, PROMPTS)
    assert {finding.status for finding in found if finding.name != "box decides"} == {"fail"}
    assert f"{error.__name__}: " in found[0].seen


def test_a_plain_network_passes(images):
    found = statuses(wrap(Odd(lambda _, x: x)), images)
    assert set(found.values()) == {"pass"}


def test_a_prompted_model_passes_and_its_text_decides(images, clipseg):
    model = load_model(clipseg, "dense-vl")
    assert set(statuses(model, images).values()) == {"pass"}
    alike = statuses(model, images, ["polyp"] * 3)
    assert alike["text decides"] == "warn"


def test_one_image_is_too_few(images):
    with pytest.raises(ValueError, match="two images or more"):
        examine(wrap(Odd(lambda _, x: x)), images[:1], PROMPTS[:1])


def facts(model, images):
    return facts_of(model, "external", images, Bound(model, PROMPTS))


def test_facts_count_and_try(images, clipseg):
    model = load_model(clipseg, "dense-vl", width=4)
    card = facts_of(model, "clipseg", images, Bound(model, PROMPTS))
    assert card.parameters == sum(p.numel() for p in model.net.parameters())
    assert 0 < card.trainable < card.parameters
    assert card.text_conditioned
    assert card.differentiable
    assert card.input_size == "as it is, multiples of 16"
    plain = facts(wrap(Odd(lambda _, x: x), input_size=32), images)
    assert (plain.trainable, plain.input_size) == (plain.parameters, "32 x 32")
    broken = facts(wrap(Odd(lambda _, x: x.detach())), images)
    assert broken.differentiable is False


def test_of_a_network_that_fails_nobody_says_that_it_has_no_gradient(images):
    def picky(_, x):
        assert x.shape[-1] == 64
        return x

    assert facts(wrap(Odd(picky)), images).differentiable is None
    sized = facts(wrap(Odd(picky), input_size=64), images)
    assert sized.differentiable
