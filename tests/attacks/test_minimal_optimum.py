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
    "pdpgd-l2": (partial(pdpgd, steps=300, norm="l2"), "l2", 1.25),
    "alma_prox": (partial(alma_prox, steps=300), "linf", 1.05),
    "alma_prox-l2": (partial(alma_prox, steps=300, step_size=0.002, norm="l2"), "l2", 1.25),
    "dag": (dag, "linf", 1.6),
    "dag-l2": (partial(dag, norm="l2"), "l2", 2.5),
    "asma": (partial(asma, step_size=0.02, least_step=0.002), "l2", 2.5),
}
every_attack = pytest.mark.parametrize(("attack", "norm", "factor"), FACTORS.values(), ids=FACTORS)


@pytest.fixture
def linear(model, images):
    return Centred(model, images)


@pytest.fixture
def weights(model):
    return model.conv.weight.detach().flatten()


@pytest.fixture
def bright(images):
    """The two middle images: neither empty nor full of what the model looks for."""
    return images[1:3]


def score(model, images, masks):
    return dice(count(model(images) > 0, masks))


@every_attack
@pytest.mark.parametrize("tau", [0.7, 0.3])
def test_lands_within_a_factor_of_the_shortest(attack, norm, factor, tau, linear, weights, bright):
    clean = linear(bright)
    masks = nearly(clean > 0)
    optimum = shortest(clean, masks, weights, tau=tau, norm=norm)
    assert (optimum > 0.001).all()
    adversarial = attack(linear, bright, masks, tau=tau)
    length = norms(adversarial - bright, norm).double()
    assert (score(linear, adversarial, masks) <= tau).all()
    assert (length >= optimum * (1 - 1e-4)).all()  # or the oracle is wrong
    assert (length <= optimum * factor).all(), (length / optimum).tolist()


@pytest.mark.parametrize(
    ("attack", "norm", "factor"),
    [
        (bisection, "linf", 1.06),
        (partial(bisection, norm="l2"), "l2", 1.15),
        (ddn, "l2", 1.15),
        (partial(pdpgd, steps=300), "linf", 1.1),
        (partial(alma_prox, steps=300), "linf", 1.05),
        (partial(dag, step_size=0.25 / 255), "linf", 1.6),
        (asma, "l2", 1.4),
    ],
    ids=["bisection", "bisection-l2", "ddn", "pdpgd", "alma_prox", "dag", "asma"],
)
def test_paints_a_target_at_little_more_than_the_least_cost(
    attack, norm, factor, linear, weights, bright
):
    target = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    target[:, :, 2:6, 1:7] = True
    optimum = shortest(linear(bright), target, weights, tau=0.95, norm=norm, targeted=True)
    adversarial = attack(linear, bright, target, tau=0.95, targeted=True)
    length = norms(adversarial - bright, norm).double()
    assert (score(linear, adversarial, target) >= 0.95).all()
    assert (length >= optimum * (1 - 1e-4)).all()
    assert (length <= optimum * factor).all(), (length / optimum).tolist()


@every_attack
def test_the_further_the_score_must_fall_the_longer_it_takes(attack, norm, factor, linear, bright):
    masks = nearly(linear(bright) > 0)
    lengths = [
        norms(attack(linear, bright, masks, tau=tau) - bright, norm) for tau in (0.7, 0.5, 0.3)
    ]
    assert (lengths[0] < lengths[1]).all()
    assert (lengths[1] < lengths[2]).all()


@pytest.mark.parametrize("precision", [0.3, 0.02])
def test_bisection_keeps_to_its_precision(precision, linear, weights, bright):
    masks = nearly(linear(bright) > 0)
    optimum = shortest(linear(bright), masks, weights, tau=0.5, norm="linf")
    adversarial = bisection(linear, bright, masks, precision=precision)
    # In L-infinity PGD finds the corner, which is optimal: it fails exactly below the optimum.
    assert (norms(adversarial - bright, "linf") <= optimum * (1 + precision) * (1 + 1e-4)).all()


def test_bisection_spends_more_passes_on_more_precision(linear, bright):
    masks = nearly(linear(bright) > 0)
    spent = []
    for precision in (0.3, 0.02):
        calls = []
        bisection(lambda x, calls=calls: calls.append(0) or linear(x), bright, masks,
                  precision=precision, inner=partial(pgd, steps=3, random_start=False))  # fmt: skip
        spent.append(len(calls))
    assert spent[0] < spent[1] < 2 * 16 * 5


def test_scaling_the_logits_changes_nothing(linear, bright):
    masks = nearly(linear(bright) > 0)
    for attack in (ddn, partial(pdpgd, steps=50), partial(alma_prox, steps=50), dag):
        plain = attack(linear, bright, masks)
        scaled = attack(lambda x: 64 * linear(x), bright, masks)
        assert (plain - scaled).abs().max() < 1e-5
