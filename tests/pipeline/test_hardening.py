"""Adversarial training in recipes: how its attack is found, and what is refused."""

from functools import partial

import pytest

from palpate.attacks import ATTACKS, LOSSES
from palpate.pipeline.attacks.training import hardening_of
from palpate.pipeline.recipe.config import AdversarialConfig


def test_the_attack_and_its_options_are_those_of_the_recipe():
    found = hardening_of(AdversarialConfig("pgd", 2, {"loss": "margin"}, epsilon_255=4))
    assert found.adversarial.epsilon == 4 / 255
    attack = found.adversarial.attack
    assert attack.func is ATTACKS["pgd"]
    assert attack.keywords == {"steps": 2, "loss": LOSSES["margin"]}
    assert found.watch.epsilon == 4 / 255
    assert isinstance(found.watch.attack, partial)


def test_an_attack_without_steps_gets_none():
    assert hardening_of(AdversarialConfig("fgsm")).adversarial.attack.keywords == {}


def test_free_training_needs_no_attack():
    free = hardening_of(AdversarialConfig("free", 4, watched=0))
    assert free.adversarial.attack is None
    assert free.adversarial.replays == 4
    assert free.watch is None


def test_without_the_setting_training_is_ordinary():
    assert hardening_of(None) == (None, None)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (AdversarialConfig("segpdg"), "segpgd"),
        (AdversarialConfig("text-typos"), "attack on images"),
        (AdversarialConfig("pgd", options={"stepsize": 1}), "stepsize"),
        (AdversarialConfig("medis", options={"target": "random"}), "masks of other images"),
        (AdversarialConfig("pgd", epsilon_255=0), "above 0"),
        (AdversarialConfig("pgd", watched=-1), "watched"),
        (AdversarialConfig("universal"), "perturbation"),
    ],
)
def test_what_cannot_train_is_refused(config, said):
    with pytest.raises(ValueError, match=said):
        hardening_of(config)
