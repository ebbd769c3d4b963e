"""Threat models and universal perturbations as a recipe names them."""

import pytest
import torch
import yaml

from palpate.attacks import UniversalPerturbation
from palpate.pipeline.attacks.images import attacks_of

RECIPE = """
tied: {attack: pgd, steps: 2, within: tied}
border: {attack: pgd, steps: 2, within: {border: 1}}
stored: {attack: fgsm, within: [inside, lattice]}
slow: {attack: noise, within: {low_frequency: 0.1, tied: true}}
mi: {attack: transfer, steps: 2, kernel: 3}
"""


def test_threat_models_are_plain_values():
    attacks = attacks_of(yaml.safe_load(RECIPE), [1 / 255, 8 / 255])
    images = torch.full((1, 3, 6, 6), 100 / 255)
    masks = torch.zeros(1, 1, 6, 6, dtype=torch.bool)
    masks[..., 1:4, 1:4] = True

    def model(x):
        return (x * torch.tensor([1.0, -2.0, 3.0]).view(3, 1, 1)).sum(1, keepdim=True) - 0.7

    deltas = {n: a(model, images, masks, epsilon=8 / 255) - images for n, a in attacks.items()}
    assert (deltas["tied"] - deltas["tied"][:, :1]).abs().max() < 1e-6
    assert (deltas["border"][..., 1:5, 1:5] == 0).all()
    assert (deltas["stored"][~masks.expand_as(images)] == 0).all()
    assert (deltas["slow"] - deltas["slow"][:, :1]).abs().max() < 1e-6
    assert all(delta.abs().max() > 0.01 for delta in deltas.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pgd": {"within": "middle"}}, "'pgd' cannot be run: There is no threat model 'middle'"),
        ({"pgd": {"within": {"border": 0}}}, "cannot be run: Expected a border of 1 pixel"),
        ({"transfer": {"kernel": 4}}, "'transfer' cannot be run: Expected an odd kernel"),
        ({"universal": {}}, "'universal' cannot be run: .*perturbation"),
    ],
)
def test_wrong_ones_are_found_before_anything_long_begins(options, message):
    with pytest.raises(ValueError, match=message):
        attacks_of(options, [8 / 255])


def test_a_universal_perturbation_is_named_by_its_file(tmp_path):
    kept = UniversalPerturbation(torch.full((3, 4, 4), 0.03), 0.03, "linf")
    kept.save(tmp_path / "p.safetensors")
    path = str(tmp_path / "p.safetensors")
    attacks = attacks_of(
        {
            "universal": {"perturbation": path},
            "shuffled": {"attack": "universal", "perturbation": path, "shuffled": True},
        },
        [8 / 255],
    )
    assert repr(attacks["universal"].keywords["perturbation"]) == repr(kept)
    with pytest.raises(FileNotFoundError, match="no file"):
        attacks_of({"universal": {"perturbation": str(tmp_path / "none")}}, [8 / 255])


def test_a_ball_too_small_for_whole_grey_levels_is_found_before_anything_long_begins():
    options = {"stored": {"attack": "pgd", "steps": 2, "within": "lattice"}}
    attacks_of(options, [1 / 255, 8 / 255])
    with pytest.raises(ValueError, match="'stored' cannot be run"):
        attacks_of(options, [0.5 / 255, 8 / 255])
