"""What every attack owes its caller, checked for all of them at once."""

from copy import deepcopy
from functools import partial
from inspect import signature

import pytest
import torch
from torch.testing import assert_close

from palpate.attacks import (
    ATTACKS,
    LOSSES,
    UniversalPerturbation,
    ZeroGradientWarning,
    alma_prox,
    apgd,
    asma,
    bisection,
    cospgd,
    dag,
    ddn,
    ensemble,
    fgsm,
    hopskipjump,
    medis,
    noise,
    pdpgd,
    pgd,
    published_pgd,
    sea,
    segpgd,
    simba,
    spsa,
    square,
    transfer,
    universal,
)
from palpate.attacks.losses import MaskedBCE, MaskedMargin, Tsallis, bce, bce_dice, dice, margin
from palpate.geometry import norms
from palpate.randomness import generator

EPSILON = 8 / 255
LENGTH = 0.5
# Made without a model, so it need not harm: as weak as noise.
RANDOM = UniversalPerturbation(
    0.1 * torch.randn(3, 8, 8, generator=generator(5)).sign(), 0.1, "linf"
)
WHOLE = (3 * 8 * 8) ** 0.5  # from black to white
LOST = 0.45  # a DSC below that of the clean images
FEW = partial(pgd, steps=3)


def chase(model, images, masks, **options):
    """HopSkipJump from images that are broken for certain, as noise seldom is to this model."""
    starts = pgd(model, images, masks, epsilon=1.0, steps=5, random_start=False)
    return hopskipjump(model, images, masks, starts=starts, tau=0.45, samples=12, **options)


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
    "medis": (partial(medis, epsilon=EPSILON), EPSILON, "linf"),
    "medis-one-by-one": (partial(medis, epsilon=EPSILON, steps=4, copies=1), EPSILON, "linf"),
    "medis-tied": (partial(medis, epsilon=EPSILON, within="tied"), EPSILON, "linf"),
    "medis-targeted": (partial(medis, epsilon=EPSILON, targeted=True), EPSILON, "linf"),
    "pgd-tsallis": (partial(pgd, epsilon=EPSILON, steps=5, loss=Tsallis()), EPSILON, "linf"),
    "segpgd": (partial(segpgd, epsilon=EPSILON, steps=6), EPSILON, "linf"),
    "segpgd-targeted": (partial(segpgd, epsilon=EPSILON, steps=6, targeted=True), EPSILON, "linf"),
    "cospgd": (partial(cospgd, epsilon=EPSILON, steps=6), EPSILON, "linf"),
    "cospgd-l2": (partial(cospgd, epsilon=LENGTH, steps=6, norm="l2"), LENGTH, "l2"),
    "cospgd-targeted": (partial(cospgd, epsilon=EPSILON, steps=6, targeted=True), EPSILON, "linf"),
    "apgd": (partial(apgd, epsilon=EPSILON, steps=12), EPSILON, "linf"),
    "apgd-l2": (partial(apgd, epsilon=LENGTH, steps=12, norm="l2", loss=bce), LENGTH, "l2"),
    "apgd-targeted": (partial(apgd, epsilon=EPSILON, steps=8, targeted=True), EPSILON, "linf"),
    "apgd-restarts": (
        partial(apgd, epsilon=EPSILON, steps=5, restarts=2, loss=MaskedBCE()),
        EPSILON,
        "linf",
    ),
    "apgd-by-loss": (
        partial(apgd, epsilon=EPSILON, steps=8, keep="loss", loss=MaskedMargin()),
        EPSILON,
        "linf",
    ),
    "apgd-stops": (partial(apgd, epsilon=EPSILON, steps=8, early_stop=True), EPSILON, "linf"),
    "sea": (partial(sea, epsilon=EPSILON, steps=6), EPSILON, "linf"),
    "sea-l2": (partial(sea, epsilon=LENGTH, steps=4, norm="l2"), LENGTH, "l2"),
    "sea-short": (partial(sea, epsilon=EPSILON, steps=3), EPSILON, "linf"),  # one phase only
    "sea-targeted": (partial(sea, epsilon=EPSILON, steps=4, targeted=True), EPSILON, "linf"),
    "pgd-tied": (partial(pgd, epsilon=EPSILON, steps=4, within="tied"), EPSILON, "linf"),
    "pgd-border": (
        partial(pgd, epsilon=LENGTH, norm="l2", steps=4, within={"border": 2}),
        LENGTH,
        "l2",
    ),
    "pgd-low": (
        partial(pgd, epsilon=EPSILON, steps=4, within={"low_frequency": 0.2}),
        EPSILON,
        "linf",
    ),
    "apgd-tied": (partial(apgd, epsilon=EPSILON, steps=8, within="tied"), EPSILON, "linf"),
    "apgd-border": (
        partial(apgd, epsilon=LENGTH, norm="l2", steps=8, within={"border": 2}),
        LENGTH,
        "l2",
    ),
    "apgd-low": (
        partial(apgd, epsilon=EPSILON, steps=8, within={"low_frequency": 0.2}),
        EPSILON,
        "linf",
    ),
    "ensemble": (partial(ensemble, epsilon=EPSILON, steps=24), EPSILON, "linf"),
    "ensemble-l2": (partial(ensemble, epsilon=LENGTH, steps=24, norm="l2"), LENGTH, "l2"),
    "ensemble-targeted": (
        partial(ensemble, epsilon=EPSILON, steps=24, targeted=True),
        EPSILON,
        "linf",
    ),
    "sea-outside": (partial(sea, epsilon=EPSILON, steps=4, within="outside"), EPSILON, "linf"),
    "transfer": (partial(transfer, epsilon=EPSILON, steps=4), EPSILON, "linf"),
    "transfer-all": (
        partial(transfer, epsilon=EPSILON, steps=4, diversity=0.7, kernel=3, scales=2),
        EPSILON,
        "linf",
    ),
    "transfer-l2": (
        partial(transfer, epsilon=LENGTH, norm="l2", steps=4, diversity=1.0),
        LENGTH,
        "l2",
    ),
    "universal-noise": (partial(universal, epsilon=EPSILON, perturbation=RANDOM), EPSILON, "linf"),
    "published-pgd": (
        partial(published_pgd, epsilon=EPSILON, steps=4, norm="linf", clamp=True, loss=bce),
        EPSILON,
        "linf",
    ),
    # Those that look for the smallest perturbation; their bound is not reached.
    "bisection": (partial(bisection, tau=LOST, inner=FEW, precision=1.0), 1.0, "linf"),
    "bisection-l2": (partial(bisection, tau=LOST, inner=FEW, norm="l2"), WHOLE, "l2"),
    "ddn": (partial(ddn, tau=LOST, steps=20), WHOLE, "l2"),
    "ddn-8-bit": (partial(ddn, tau=LOST, steps=20, levels=256), WHOLE, "l2"),
    "pdpgd": (partial(pdpgd, tau=LOST, steps=60), 1.0, "linf"),
    "pdpgd-8-bit": (partial(pdpgd, tau=LOST, steps=60, levels=256), 1.0, "linf"),
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
    "square": (partial(square, epsilon=EPSILON, queries=30), EPSILON, "linf"),
    "square-l2": (partial(square, epsilon=LENGTH, queries=30, norm="l2"), LENGTH, "l2"),
    "square-inside": (
        partial(square, epsilon=EPSILON, queries=60, within="inside"),
        EPSILON,
        "linf",
    ),
    "square-stops": (
        partial(square, epsilon=EPSILON, queries=30, early_stop=True, share=0.2),
        EPSILON,
        "linf",
    ),
    "square-by-loss": (
        partial(square, epsilon=EPSILON, queries=30, keep="loss", loss=bce),
        EPSILON,
        "linf",
    ),
    "square-targeted": (
        partial(square, epsilon=EPSILON, queries=30, targeted=True, loss=bce_dice),
        EPSILON,
        "linf",
    ),
    "spsa": (partial(spsa, epsilon=EPSILON, queries=70, samples=16), EPSILON, "linf"),
    "spsa-many": (partial(spsa, epsilon=EPSILON, queries=129, samples=64), EPSILON, "linf"),
    "spsa-border": (
        partial(spsa, epsilon=EPSILON, queries=70, samples=16, within={"border": 2}),
        EPSILON,
        "linf",
    ),
    "nes-l2": (
        partial(spsa, epsilon=LENGTH, queries=70, samples=16, norm="l2", directions="gaussian"),
        LENGTH,
        "l2",
    ),
    "spsa-targeted": (
        partial(spsa, epsilon=EPSILON, queries=70, samples=16, targeted=True, keep="loss"),
        EPSILON,
        "linf",
    ),
    "simba": (partial(simba, epsilon=EPSILON, queries=60, frequencies=0.5), EPSILON, "linf"),
    "simba-tied": (
        partial(simba, epsilon=EPSILON, queries=60, frequencies=0.5, within="tied"),
        EPSILON,
        "linf",
    ),
    "simba-l2": (
        partial(simba, epsilon=LENGTH, queries=30, basis="pixel", norm="l2"),
        LENGTH,
        "l2",
    ),
    "simba-targeted": (
        partial(simba, epsilon=EPSILON, queries=30, targeted=True, keep="loss", loss=dice),
        EPSILON,
        "linf",
    ),
    "hopskipjump": (partial(chase, epsilon=0.2, queries=80), 0.2, "linf"),
    "hopskipjump-l2": (partial(chase, epsilon=2.0, queries=80, norm="l2"), 2.0, "l2"),
    "hopskipjump-8-bit": (partial(chase, epsilon=0.2, queries=80, levels=256), 0.2, "linf"),
    "hopskipjump-stops": (partial(chase, epsilon=0.3, queries=80, early_stop=True), 0.3, "linf"),
    "noise": (partial(noise, epsilon=EPSILON), EPSILON, "linf"),
    "noise-l2": (partial(noise, epsilon=LENGTH, norm="l2"), LENGTH, "l2"),
    "noise-uniform": (partial(noise, epsilon=EPSILON, spread="uniform"), EPSILON, "linf"),
    "noise-tied": (partial(noise, epsilon=EPSILON, within="tied"), EPSILON, "linf"),
    "noise-ball": (partial(noise, epsilon=LENGTH, norm="l2", spread="uniform"), LENGTH, "l2"),
}
# That an image was not broken is said elsewhere; here only what comes back counts.
pytestmark = pytest.mark.filterwarnings("ignore::palpate.attacks.UnbrokenWarning")
optimising = {name: case for name, case in CASES.items() if "noise" not in name}
# The first case of each attack, those that are aimed otherwise, and those in which images of a
# batch part ways.
FIRST = set({case[0].func: name for name, case in reversed(CASES.items())}.values())
AIMED = FIRST | {name for name in CASES if name.endswith(("-l2", "-targeted"))}
BATCHED = FIRST | {name for name in CASES if name.endswith(("-l2", "-stops", "-restarts"))}


def cases(chosen, quick=frozenset(CASES)):
    """Runs a test for the chosen cases; those that are not among the quick ones are slow."""
    return pytest.mark.parametrize(
        ("attack", "epsilon", "norm"),
        [
            pytest.param(*case, id=name, marks=[] if name in quick else [pytest.mark.slow])
            for name, case in chosen.items()
        ],
    )


def generators(count):
    return [generator(0, f"image-{i}") for i in range(count)]


@pytest.fixture
def usual(net, images, masks):
    """What an attack finds for the usual images; each attack runs once for all tests."""

    def run(attack, dtype=torch.float32):
        if (attack, dtype) not in _FOUND:
            _FOUND[attack, dtype] = attack(
                deepcopy(net).to(dtype), images.to(dtype), masks, generator=generators(4)
            )
        return _FOUND[attack, dtype].clone()

    return run


_FOUND = {}


def is_smallest(attack):
    """Whether it looks for the smallest perturbation; then it may find none, and says so."""
    return "max_epsilon" in signature(attack).parameters


def harm(attack, logits, masks):
    """What the attack maximises."""
    value = attack.keywords.get("loss", bce_dice)(logits, masks)
    return -value if attack.keywords.get("targeted") else value


@cases(CASES)
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]
)
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


@cases(optimising, AIMED)
def test_harms_every_image(attack, epsilon, norm, usual, net, images, masks):
    adversarial = usual(attack)
    before, after = (harm(attack, net(x), masks) for x in (images, adversarial))
    moved = (adversarial != images).flatten(1).any(1)
    assert moved.any() if is_smallest(attack) else moved.all()
    assert (after > before)[moved].all()


@cases(CASES, BATCHED)
def test_an_image_gets_the_same_result_alone_and_in_a_batch(
    attack, epsilon, norm, usual, net, images, masks
):
    # In single precision rounding, not the attack, chooses the sign of a gradient near zero.
    net, images = net.double(), images.double()
    together = usual(attack, torch.float64) - images
    found = attack(net, images[2:3], masks[2:3], generator=generators(4)[2:3]) - images[2:3]
    assert_close(together[2:3] / epsilon, found / epsilon, rtol=0, atol=1e-4)


@cases(CASES, FIRST)
def test_no_image_sees_its_neighbours(attack, epsilon, norm, usual, net, images, masks):
    net, images = net.double(), images.double()
    other = images.clone()
    other[1:] = other[1:].flip(0)
    first = usual(attack, torch.float64)
    second = attack(net, other, masks, generator=generators(4))
    assert_close((first - images)[0] / epsilon, (second - other)[0] / epsilon, rtol=0, atol=1e-4)


@cases(CASES, FIRST)
def test_is_reproducible(attack, epsilon, norm, net, images, masks):
    runs = [attack(net, images, masks, generator=generator(0, "batch")) for _ in range(2)]
    assert torch.equal(*runs)


@cases(CASES, FIRST)
def test_without_a_generator_uses_the_global_one(attack, epsilon, norm, net, images, masks):
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        runs.append(attack(net, images, masks))
    assert torch.equal(*runs)


@cases(CASES, FIRST)
def test_leaves_no_trace(attack, epsilon, norm, usual, net, images, masks):
    expected = usual(attack)
    clean, weights = images.clone(), {k: v.clone() for k, v in net.state_dict().items()}
    net.layers[0].train()  # whatever the mode is, it is the caller's business
    images.requires_grad_()
    state = torch.get_rng_state()
    adversarial = attack(net, images, masks, generator=generators(4))
    assert torch.equal(adversarial, expected)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, clean)
    assert images.grad is None
    assert not adversarial.requires_grad
    assert adversarial.data_ptr() != images.data_ptr()
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items())
    assert [m.training for m in net.modules()] == [False, False, True, False, False]


@cases(CASES, FIRST)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_type_and_shape(attack, epsilon, norm, dtype, usual, images):
    adversarial = usual(attack, dtype)
    assert adversarial.dtype == dtype
    assert adversarial.shape == images.shape


@cases(CASES, FIRST)
def test_epsilon_zero_gives_the_images_back(attack, epsilon, norm, net, images, masks):
    zero = {"max_epsilon" if is_smallest(attack) else "epsilon": 0.0}
    adversarial = attack(net, images, masks, **zero, generator=generators(4))
    assert torch.equal(adversarial, images)
    assert adversarial.data_ptr() != images.data_ptr()


@cases(optimising, FIRST)
@pytest.mark.parametrize(
    "context", [torch.inference_mode, pytest.param(torch.no_grad, marks=pytest.mark.slow)]
)
def test_works_where_gradients_are_off(attack, epsilon, norm, context, usual, net, images, masks):
    expected = usual(attack)
    with context():
        assert torch.equal(attack(net, images + 0, masks, generator=generators(4)), expected)


@cases(CASES, FIRST)
@pytest.mark.filterwarnings("ignore::palpate.attacks.ZeroGradientWarning")
def test_copes_with_empty_and_full_masks_and_images_that_are_not_square(attack, epsilon, norm, net):
    images = torch.rand(3, 3, 6, 9, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(3, 1, 6, 9, dtype=torch.bool)
    masks[1], masks[2, :, :3] = True, True
    adversarial = attack(net, images, masks, generator=generators(3))
    assert adversarial.shape == images.shape
    assert norms(adversarial.double() - images.double(), norm).max() <= epsilon * (1 + 1e-6)
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1


FOLLOWING = {
    name: case
    for name, case in optimising.items()
    if not name.startswith(("square", "simba", "universal"))
    # These have what they want from the start: an answer without a shape has a low mean IoU.
    and name not in ("medis", "medis-one-by-one", "medis-tied")
}


@cases(FOLLOWING, FIRST)
def test_a_model_without_gradient_is_reported_and_breaks_nothing(
    attack, epsilon, norm, images, masks
):
    with pytest.warns(ZeroGradientWarning):
        adversarial = attack(lambda x: 0 * x[:, :1] + 1, images, masks, generator=generators(4))
    assert norms(adversarial.double() - images.double(), norm).max() <= epsilon * (1 + 1e-6)
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1


# Diverse input fills up what it turns back with logits of 0, at its very edges.
COUNTED = {
    name: case
    for name, case in CASES.items()
    if "threshold" in signature(case[0]).parameters and "diversity" not in case[0].keywords
}


@cases(COUNTED, FIRST)
def test_a_threshold_is_a_shift_of_the_logits(attack, epsilon, norm, net, images, masks):
    net, images = net.double(), images.double()
    there = attack(net, images, masks, threshold=-0.7, generator=generators(4))
    shifted = attack(lambda x: net(x) + 0.7, images, masks, generator=generators(4))
    assert torch.equal(there, shifted)


def test_registries_name_their_functions():
    assert all(name == attack.__name__ for name, attack in ATTACKS.items())
    names = {name: getattr(loss, "__name__", type(loss).__name__) for name, loss in LOSSES.items()}
    assert all(name.replace("_", "") == n.replace("_", "").lower() for name, n in names.items())
