"""What every attack owes its caller, checked for all of them at once."""

from functools import partial
from inspect import signature

import pytest
import torch
from torch.testing import assert_close

from palpate.attacks import (
    ATTACKS,
    LOSSES,
    alma_prox,
    asma,
    bisection,
    dag,
    ddn,
    fgsm,
    noise,
    pdpgd,
    pgd,
)
from palpate.attacks.losses import bce, bce_dice, dice, margin
from palpate.geometry import norms
from palpate.randomness import generator

EPSILON = 8 / 255
LENGTH = 0.5
WHOLE = (3 * 8 * 8) ** 0.5  # from black to white
LOST = 0.45  # a DSC below that of the clean images
FEW = partial(pgd, steps=3)
CASES = {
    "fgsm": (partial(fgsm, epsilon=EPSILON), EPSILON, "linf"),
    "fgsm-l2": (partial(fgsm, epsilon=LENGTH, norm="l2"), LENGTH, "l2"),
    "fgsm-targeted": (partial(fgsm, epsilon=EPSILON, targeted=True), EPSILON, "linf"),
    "pgd": (partial(pgd, epsilon=EPSILON, steps=6), EPSILON, "linf"),
    "pgd-small": (partial(pgd, epsilon=1 / 255, steps=3, loss=margin), 1 / 255, "linf"),
    "pgd-l2": (partial(pgd, epsilon=LENGTH, steps=6, norm="l2"), LENGTH, "l2"),
    "pgd-inside": (  # never reaches the sphere, so the length of a step shows
        partial(pgd, epsilon=LENGTH, steps=3, step_size=LENGTH / 10, norm="l2", loss=bce),
        LENGTH,
        "l2",
    ),
    "pgd-restarts": (
        partial(pgd, epsilon=EPSILON, steps=3, restarts=2, loss=dice),
        EPSILON,
        "linf",
    ),
    "pgd-targeted": (partial(pgd, epsilon=EPSILON, steps=4, targeted=True), EPSILON, "linf"),
    "pgd-by-loss": (partial(pgd, epsilon=EPSILON, steps=4, keep="loss"), EPSILON, "linf"),
    "pgd-last": (partial(pgd, epsilon=EPSILON, steps=4, keep="last"), EPSILON, "linf"),
    "pgd-stops": (partial(pgd, epsilon=EPSILON, steps=8, early_stop=True), EPSILON, "linf"),
    # Those that look for the smallest perturbation; their bound is not reached.
    "bisection": (partial(bisection, tau=LOST, inner=FEW, precision=1.0), 1.0, "linf"),
    "bisection-l2": (partial(bisection, tau=LOST, inner=FEW, norm="l2"), WHOLE, "l2"),
    "ddn": (partial(ddn, tau=LOST, steps=20), WHOLE, "l2"),
    "ddn-8-bit": (partial(ddn, tau=LOST, steps=20, levels=256), WHOLE, "l2"),
    "pdpgd": (partial(pdpgd, tau=LOST, steps=60), 1.0, "linf"),
    "pdpgd-l2": (partial(pdpgd, tau=LOST, steps=100, norm="l2"), WHOLE, "l2"),
    "alma_prox": (partial(alma_prox, tau=LOST, steps=20, step_size=0.02), 1.0, "linf"),
    "alma_prox-l2": (
        partial(alma_prox, tau=LOST, steps=20, step_size=0.02, norm="l2"),
        WHOLE,
        "l2",
    ),
    "asma": (partial(asma, tau=LOST, steps=30, step_size=0.6), WHOLE, "l2"),
    "dag": (partial(dag, tau=LOST, step_size=2 / 255), 1.0, "linf"),
    "dag-l2": (partial(dag, tau=LOST, step_size=0.1, norm="l2"), WHOLE, "l2"),
    "noise": (partial(noise, epsilon=EPSILON), EPSILON, "linf"),
    "noise-l2": (partial(noise, epsilon=LENGTH, norm="l2"), LENGTH, "l2"),
    "noise-uniform": (partial(noise, epsilon=EPSILON, spread="uniform"), EPSILON, "linf"),
    "noise-ball": (partial(noise, epsilon=LENGTH, norm="l2", spread="uniform"), LENGTH, "l2"),
}
pytestmark = pytest.mark.filterwarnings("ignore::palpate.attacks.UnbrokenWarning")
every_attack = pytest.mark.parametrize(("attack", "epsilon", "norm"), CASES.values(), ids=CASES)
gradient_attacks = {name: case for name, case in CASES.items() if "noise" not in name}
every_gradient_attack = pytest.mark.parametrize(
    ("attack", "epsilon", "norm"), gradient_attacks.values(), ids=gradient_attacks
)


def generators(count):
    return [generator(0, f"image-{i}") for i in range(count)]


def is_smallest(attack):
    """Whether it looks for the smallest perturbation; then it may find none, and says so."""
    return "max_epsilon" in signature(attack).parameters


def harm(attack, logits, masks):
    """What the attack maximises."""
    value = attack.keywords.get("loss", bce_dice)(logits, masks)
    return -value if attack.keywords.get("targeted") else value


@every_attack
@pytest.mark.parametrize("seed", range(3))
def test_stays_in_the_ball_and_in_the_pixel_range(attack, epsilon, norm, seed, net, masks):
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    images[:2] = images[:2].round()  # corners of the pixel range
    adversarial = attack(net, images, masks, generator=generators(4))
    delta = adversarial.double() - images.double()
    assert norms(delta, norm).max() <= epsilon * (1 + 1e-6)
    moved = norms(delta, norm) > 0
    assert moved.any() if is_smallest(attack) else moved.all()
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1


@every_gradient_attack
def test_harms_every_image(attack, epsilon, norm, net, images, masks):
    adversarial = attack(net, images, masks, generator=generators(4))
    before, after = (harm(attack, net(x), masks) for x in (images, adversarial))
    moved = (adversarial != images).flatten(1).any(1)
    assert moved.any() if is_smallest(attack) else moved.all()
    assert (after > before)[moved].all()


@every_attack
def test_an_image_gets_the_same_result_alone_and_in_a_batch(
    attack, epsilon, norm, net, images, masks
):
    net, images = net.double(), images.double()  # decisions must not hang on rounding
    together = attack(net, images, masks, generator=generators(4)) - images
    alone = [
        attack(net, images[i : i + 1], masks[i : i + 1], generator=generators(4)[i : i + 1])
        for i in range(4)
    ]
    assert_close(together / epsilon, (torch.cat(alone) - images) / epsilon, rtol=0, atol=1e-4)


@every_attack
def test_no_image_sees_its_neighbours(attack, epsilon, norm, net, images, masks):
    net, images = net.double(), images.double()
    other = images.clone()
    other[1:] = other[1:].flip(0)
    first, second = (attack(net, x, masks, generator=generators(4)) for x in (images, other))
    assert_close((first - images)[0] / epsilon, (second - other)[0] / epsilon, rtol=0, atol=1e-4)


@every_attack
def test_is_reproducible(attack, epsilon, norm, net, images, masks):
    for randomness in (generators, lambda _: generator(0, "batch")):
        runs = [attack(net, images, masks, generator=randomness(4)) for _ in range(2)]
        assert torch.equal(*runs)


@every_attack
def test_without_a_generator_uses_the_global_one(attack, epsilon, norm, net, images, masks):
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        runs.append(attack(net, images, masks))
    assert torch.equal(*runs)


@every_attack
def test_leaves_no_trace(attack, epsilon, norm, net, images, masks):
    clean, weights = images.clone(), {k: v.clone() for k, v in net.state_dict().items()}
    net.layers[0].train()  # whatever the mode is, it is the caller's business
    images.requires_grad_()
    state = torch.get_rng_state()
    adversarial = attack(net, images, masks, generator=generators(4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, clean)
    assert images.grad is None
    assert not adversarial.requires_grad
    assert adversarial.data_ptr() != images.data_ptr()
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items())
    assert [m.training for m in net.modules()] == [False, False, True, False, False]


@every_attack
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_type_and_shape(attack, epsilon, norm, dtype, net, images, masks):
    adversarial = attack(net.to(dtype), images.to(dtype), masks, generator=generators(4))
    assert adversarial.dtype == dtype
    assert adversarial.shape == images.shape


@every_attack
def test_epsilon_zero_gives_the_images_back(attack, epsilon, norm, net, images, masks):
    zero = {"max_epsilon" if is_smallest(attack) else "epsilon": 0.0}
    adversarial = attack(net, images, masks, **zero, generator=generators(4))
    assert torch.equal(adversarial, images)
    assert adversarial.data_ptr() != images.data_ptr()


@every_gradient_attack
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_off(attack, epsilon, norm, context, net, images, masks):
    expected = attack(net, images, masks, generator=generators(4))
    with context():
        assert torch.equal(attack(net, images + 0, masks, generator=generators(4)), expected)


def test_registries_name_their_functions():
    assert all(name == attack.__name__ for name, attack in ATTACKS.items())
    assert all(name == loss.__name__ for name, loss in LOSSES.items())
