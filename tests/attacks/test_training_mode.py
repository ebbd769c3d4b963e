"""A network in training mode is attacked with a warning."""

from functools import partial

import pytest
from torch import nn

from palpate import attacks
from palpate.attacks.core.mode import TrainingModeWarning
from palpate.prompting import Bound


def network(*layers):
    return nn.Sequential(nn.Conv2d(3, 1, 1), *layers)


class Prompted(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = network(nn.Dropout(0.1))

    def forward(self, images, prompts):
        return self.net(images) if prompts else None


def test_an_attack_warns_of_training_mode(images, masks):
    net = network(nn.Dropout(0.5), nn.BatchNorm2d(1))
    with pytest.warns(
        TrainingModeWarning, match=r"training mode \(BatchNorm2d, Dropout\).*eval\(\)"
    ):
        attacks.fgsm(net, images, masks, epsilon=0.01)


@pytest.mark.parametrize("name", ["transfer", "medis", "published_pgd", "pgd"])
def test_attacks_of_every_room_warn_of_training_mode(name, images, masks):
    with pytest.warns(TrainingModeWarning):
        attacks.ATTACKS[name](
            network(nn.Dropout(0.5)).requires_grad_(False), images, masks, epsilon=0.01
        )


def test_fits_and_surrogates_in_training_mode_are_warned_of(images, masks):
    net = network(nn.Dropout(0.5)).requires_grad_(False)
    with pytest.warns(TrainingModeWarning):
        attacks.fit_universal(net, [(images, masks, None)], epsilon=0.01, epochs=1)
    with pytest.warns(TrainingModeWarning):
        attacks.transfer(network(), images, masks, epsilon=0.01, surrogate=net)


def test_wrappers_are_looked_through(images, masks):
    prompts = ["polyp"] * len(images)
    for model in (Bound(Prompted(), prompts), partial(Prompted(), prompts=prompts)):
        with pytest.warns(TrainingModeWarning):
            attacks.fgsm(model, images, masks, epsilon=0.01)


def test_modes_without_effect_and_declared_randomness_are_silent(images, masks):
    declared = network(nn.Dropout(0.1))
    declared.is_random = True
    for net in (network(), network(nn.Dropout(0.0)), declared, network(nn.BatchNorm2d(1)).eval()):
        attacks.fgsm(net, images, masks, epsilon=0.01)
