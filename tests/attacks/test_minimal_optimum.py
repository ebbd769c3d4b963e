"""On a linear pixel classifier the shortest perturbation is known exactly.

The factors are what each algorithm can be held to: DAG and ASMA push every pixel, the goal takes
some only, so theirs is far from the optimum and stated for what it is.
"""

from functools import partial

import pytest
import torch

from palpate.attacks import alma_prox, asma, bisection, dag, ddn, pdpgd, pgd
from palpate.geometry import norms
from palpate.overlap import count, dice

from .linear import Centred, nearly, shortest

FACTORS = {
    "bisection": (bisection, "linf", 1.06),
    "bisection-l2": (partial(bisection, norm="l2"), "l2", 1.15),
    "ddn": (ddn, "l2", 1.15),
    "pdpgd": (partial(pdpgd, steps=300), "linf", 1.1),
    "pdpgd-l2": (partial(pdpgd, norm="l2"), "l2", 1.35),
    "alma_prox": (partial(alma_prox, steps=300), "linf", 1.05),
    "alma_prox-l2": (partial(alma_prox, norm="l2"), "l2", 1.1),
    "dag": (dag, "linf", 1.6),
    "dag-l2": (partial(dag, norm="l2"), "l2", 4.5),
    "asma": (partial(asma, step_size=0.02, least_step=0.002), "l2", 4.0),
}
SLOW = ("bisection-l2", "pdpgd-l2", "alma_prox-l2")  # their other norm is quick
every_attack = pytest.mark.parametrize(
    ("attack", "norm", "factor"),
    [
        pytest.param(*values, id=name, marks=[pytest.mark.slow] * (name in SLOW))
        for name, values in FACTORS.items()
    ],
)


@pytest.fixture
def linear(model, images):
    return Centred(model, images)


@pytest.fixture
def weights(model):
    return model.conv.weight.detach().flatten()


@pytest.fixture
def images():
    """Half of each is what the model looks for."""
    return 0.3 + 0.4 * torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def score(model, images, masks):
    return dice(count(model(images) > 0, masks))


@every_attack
def test_lands_within_a_factor_of_the_shortest(attack, norm, factor, linear, weights, images):
    clean = linear(images)
    masks = nearly(clean > 0)
    lengths = []
    for tau in (0.7, 0.3):
        optimum = shortest(clean, masks, weights, tau=tau, norm=norm)
        adversarial = attack(linear, images, masks, tau=tau)
        lengths.append(norms(adversarial - images, norm).double())
        assert (score(linear, adversarial, masks) <= tau).all()
        assert (lengths[-1] >= optimum * (1 - 1e-4)).all()  # or the oracle is wrong
        assert (lengths[-1] <= optimum * factor).all(), (lengths[-1] / optimum).tolist()
    assert (lengths[0] < lengths[1]).all()  # the further the score must fall, the longer it takes


@pytest.mark.parametrize(
    ("attack", "norm", "factor"),
    [
        (bisection, "linf", 1.06),
        pytest.param(partial(bisection, norm="l2"), "l2", 1.15, marks=pytest.mark.slow),
        (ddn, "l2", 1.15),
        (partial(pdpgd, steps=300), "linf", 1.1),
        (partial(alma_prox, steps=300), "linf", 1.05),
        (partial(dag, step_size=0.25 / 255), "linf", 1.6),
        (asma, "l2", 1.4),
    ],
    ids=["bisection", "bisection-l2", "ddn", "pdpgd", "alma_prox", "dag", "asma"],
)
def test_paints_a_target_at_little_more_than_the_least_cost(
    attack, norm, factor, linear, weights, images
):
    target = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    target[:, :, 2:6, 1:7] = True
    optimum = shortest(linear(images), target, weights, tau=0.95, norm=norm, targeted=True)
    adversarial = attack(linear, images, target, tau=0.95, targeted=True)
    length = norms(adversarial - images, norm).double()
    assert (score(linear, adversarial, target) >= 0.95).all()
    assert (length >= optimum * (1 - 1e-4)).all()
    assert (length <= optimum * factor).all(), (length / optimum).tolist()


@pytest.mark.parametrize("precision", [0.3, 0.02])
def test_bisection_keeps_to_its_precision(precision, linear, weights, images):
    masks = nearly(linear(images) > 0)
    optimum = shortest(linear(images), masks, weights, tau=0.5, norm="linf")
    adversarial = bisection(linear, images, masks, precision=precision)
    # In L-infinity PGD finds the corner, which is optimal: it fails exactly below the optimum.
    assert (norms(adversarial - images, "linf") <= optimum * (1 + precision) * (1 + 1e-4)).all()


def test_bisection_spends_more_passes_on_more_precision(linear, images):
    masks = nearly(linear(images) > 0)
    spent = []
    for precision in (0.3, 0.02):
        calls = []
        bisection(lambda x, calls=calls: calls.append(0) or linear(x), images, masks,
                  precision=precision, inner=partial(pgd, steps=3, random_start=False))  # fmt: skip
        spent.append(len(calls))
    assert spent[0] < spent[1] < 2 * 16 * 5


@pytest.mark.filterwarnings("ignore::palpate.attacks.UnbrokenWarning")
def test_scaling_the_logits_changes_nothing(linear, images):
    masks = nearly(linear(images) > 0)
    for attack in (ddn, partial(pdpgd, steps=50), partial(alma_prox, steps=50), dag):
        plain = attack(linear, images, masks)
        scaled = attack(lambda x: 64 * linear(x), images, masks)
        assert (plain - scaled).abs().max() < 1e-5
