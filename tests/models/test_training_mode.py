"""What does not learn stays as it was: frozen parts move no statistics and drop nothing."""

import copy

import pytest
import torch
from torch import nn

from palpate import wrap
from palpate.models import load_model
from palpate.models.clipseg.adapters import Adapter
from palpate.randomness import seeded

from . import tiny
from .promptable import tiny_networks
from .small import SMALL


def block():
    """A layer with statistics, one that drops, and one that drops and normalises in a part."""
    inner = nn.Sequential(nn.BatchNorm2d(4, affine=False), nn.Sequential(nn.Dropout(0.5)))
    return nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5), inner)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.encoder = nn.Conv2d(3, 4, 1), block()
        self.dropout = nn.Dropout(0.5)
        self.decoder, self.last = block(), nn.Conv2d(4, 1, 1)

    def forward(self, pixels):
        return self.last(self.decoder(self.dropout(self.encoder(self.first(pixels)))))


@pytest.fixture
def model():
    with seeded(0):
        return wrap(Net())


def modes(module):
    return {part.training for part in module.modules()}


def test_of_a_frozen_encoder_nothing_changes_and_nothing_is_dropped(model, pixels):
    model.requires_grad_(False)
    model.net.decoder.requires_grad_(True)
    before = copy.deepcopy(model.net.encoder.state_dict())
    assert model.train() is model
    assert modes(model.net.encoder) == {False}
    assert modes(model.net.decoder) == {True}
    assert model.training
    assert model.net.training
    assert model.net.dropout.training  # beside a part that learns
    model(pixels)
    after = model.net.encoder.state_dict()
    assert all(value.equal(before[name]) for name, value in after.items())


def test_where_everything_learns_everything_is_in_training_mode(model):
    assert modes(model.eval()) == {False}
    assert modes(model.train()) == {True}


def test_where_nothing_learns_nothing_is(model):
    model.requires_grad_(False)
    assert modes(model.train().net) == {False}
    model.requires_grad_(True)
    assert modes(model.train().net) == {True}


def test_a_frozen_layer_that_learning_ones_were_put_into_rests_alone(model):
    model.requires_grad_(False)
    model.net.encoder[1].adapter = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 4))
    model.train()
    assert not model.net.encoder[1].training
    assert modes(model.net.encoder[1].adapter) == {True}
    assert model.net.encoder[2].training  # it drops where the adapter learns
    assert not model.net.encoder[0].training


def test_adapters_in_a_frozen_tower_train(clipseg):
    model = load_model(clipseg, "dense-vl").train()
    adapters = [part for part in model.modules() if isinstance(part, Adapter)]
    assert adapters
    assert all(modes(adapter) == {True} for adapter in adapters)
    assert modes(model.net.decoder) == {False}


def test_an_encoder_of_pranet_that_does_not_learn_keeps_its_statistics():
    model = load_model("pranet", options=SMALL["pranet"])
    model.learn("decoder")
    before = copy.deepcopy(model.net.state_dict())
    model.train()
    model(torch.rand(4, 3, 32, 32))
    moved = {k for k, v in model.net.state_dict().items() if not v.equal(before[k])}
    assert moved
    assert not [name for name in moved if name.startswith("resnet.")]


def test_sam3_drops_nothing_outside_of_what_learns(vocabulary, tmp_path):
    tiny_networks.sam3(vocabulary).save_pretrained(tmp_path)
    tiny.write_tokenizer(tmp_path)
    model = load_model(tmp_path)
    assert any(isinstance(part, nn.Dropout) and part.p > 0 for part in model.modules())
    model.learn("decoder")
    model.train()
    images, prompts = torch.rand(2, 3, 28, 28), ["polyp", "skin"]
    with torch.no_grad():
        assert model(images, prompts).equal(model(images, prompts))
    model.learn("all")
    with torch.no_grad():
        assert not model.train()(images, prompts).equal(model(images, prompts))
