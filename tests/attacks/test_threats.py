"""Where and how a perturbation may differ from its image, and that it differs nowhere else."""

import warnings
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from palpate.attacks import (
    ZeroGradientWarning,
    apgd,
    fgsm,
    medis,
    noise,
    pgd,
    sea,
    simba,
    spsa,
    square,
)
from palpate.attacks.losses import margin
from palpate.attacks.threats import (
    CONSTRAINTS,
    Border,
    Inside,
    LowFrequency,
    Outside,
    Periodic,
    Threat,
    Tied,
    threat_model,
)
from palpate.geometry import norms
from palpate.randomness import generator
from palpate.types import Images, Masks

EPSILON, LENGTH = 8 / 255, 0.5
SIDES = (9, 12)  # neither square nor a multiple of the tile
WITHINS = (
    "anywhere",
    "tied",
    "inside",
    "outside",
    {"border": 2},
    {"low_frequency": 0.1},
    {"periodic": 4},
    ["tied", "inside"],
    ["inside", {"border": 3}],
    {"low_frequency": 0.1, "tied": True},
    {"periodic": 4, "tied": True},
    "lattice",
    ["tied", "lattice"],
    [{"border": 2}, "lattice"],
    ["tied", "outside", {"border": 2}, "lattice"],
)
ATTACKS = {
    "fgsm": fgsm,
    "pgd": partial(pgd, steps=3),
    "pgd-slow": partial(pgd, steps=3, step_size=0.3 / 255),
    "apgd": partial(apgd, steps=6),
    "sea": partial(sea, steps=4),
    "noise": noise,
    "noise-uniform": partial(noise, spread="uniform"),
    "square": partial(square, queries=6),
    "simba": partial(simba, queries=6),
    "simba-pixel": partial(simba, queries=12, basis="pixel"),
    "spsa": partial(spsa, queries=20, samples=8),
}
SEARCHES = {"square": square, "simba": simba, "spsa": partial(spsa, samples=8)}


def meetings(attacks, others, names, every):
    """Pairs of an attack and something else; only one in so many is not slow.

    Each attack and each of the others is in quick pairs, for they follow each other diagonally.
    """
    return pytest.mark.parametrize(
        names,
        [
            pytest.param(
                attack,
                *other,
                id="-".join(map(str, (name, *other))),
                marks=[pytest.mark.slow] if (row + column) % every else [],
            )
            for row, (name, attack) in enumerate(attacks.items())
            for column, other in enumerate(others)
        ],
    )


pairs = meetings(ATTACKS, [(within,) for within in WITHINS], ("attack", "within"), every=7)
searched = meetings(
    SEARCHES,
    [(n, w) for n in ("linf", "l2") for w in ("lattice", "tied", "inside", ["tied", "lattice"])],
    ("attack", "norm", "within"),
    every=8,
)


class Blend(nn.Module):
    """Every logit sees every pixel, each channel differently."""

    def forward(self, images):
        ramp = torch.linspace(-1, 1, images[0].numel(), dtype=images.dtype).view(images[0].shape)
        scene = (images * ramp.sin()).sum((1, 2, 3), keepdim=True)
        return images[:, :1] - 2 * images[:, 1:2] + images[:, 2:].square() + scene.tanh() - 0.1


def scene(seed, *, extreme):
    random = torch.Generator().manual_seed(seed)
    images = (torch.rand(2, 3, *SIDES, generator=random) * 255).round() / 255
    if extreme:
        images[0] = images[0].round()  # black and white only
    else:
        images = ((images * 0.5 + 0.25) * 255).round() / 255
    return images, torch.rand(2, 1, *SIDES, generator=random) > 0.6


def low_pass_by_definition(delta, share):
    """What is left without the high coefficients, by SciPy's transform."""
    from scipy.fft import dctn, idctn

    kept = [max(1, round(share**0.5 * side)) for side in delta.shape[2:]]
    coefficients = dctn(delta.double().numpy(), axes=(2, 3), norm="ortho")
    coefficients[:, :, kept[0] :] = 0
    coefficients[:, :, :, kept[1] :] = 0
    return torch.from_numpy(idctn(coefficients, axes=(2, 3), norm="ortho"))


def assert_obeys(constraint, delta, masks):
    """Check a perturbation against the words of a constraint, not against its projection."""
    height, width = delta.shape[2:]
    match constraint:
        case Tied():
            assert_close(delta, delta[:, :1].expand_as(delta), rtol=0, atol=2e-7)
        case Inside():
            assert (delta[~masks.expand_as(delta)] == 0).all()
        case Outside():
            assert (delta[masks.expand_as(delta)] == 0).all()
        case Border(size):
            for row in range(size, height - size):
                for column in range(size, width - size):
                    assert (delta[:, :, row, column] == 0).all()
        case LowFrequency(share):
            assert_close(delta.double(), low_pass_by_definition(delta, share), rtol=0, atol=5e-7)
        case Periodic(size):
            assert_close(delta[..., size:, :], delta[..., :-size, :], rtol=0, atol=2e-7)
            assert_close(delta[..., size:], delta[..., :-size], rtol=0, atol=2e-7)
        case _:
            raise AssertionError(f"no words for {constraint}")


# Losses that leave wrong pixels alone may have nothing left to climb in a narrow strip.
@pytest.mark.filterwarnings("ignore::palpate.attacks.ZeroGradientWarning")
@settings(max_examples=4)
@given(
    seed=st.integers(0, 2**20),
    extreme=st.booleans(),
    norm=st.sampled_from(("linf", "l2")),
    greys=st.sampled_from((1, 8, 300)),
)
@pairs
def test_obeys_the_threat_model_the_ball_and_the_pixel_range(
    attack, within, seed, extreme, norm, greys
):
    images, masks = scene(seed, extreme=extreme)
    epsilon = greys / 255 if norm == "l2" or greys < 256 else 1.0
    if greys == 1 and norm == "l2":
        epsilon *= 3**0.5  # room for one grey level in all channels
    adversarial = attack(
        Blend(),
        images,
        masks,
        epsilon=epsilon,
        norm=norm,
        within=within,
        generator=[generator(seed, i) for i in range(2)],
    )
    delta = adversarial.double() - images.double()
    threat = threat_model(within)
    # A stored value is the float nearest to k / 255, and so is not k / 255 itself.
    assert norms(delta, norm).max() <= epsilon * (1 + 1e-6) + (1e-7 if threat.lattice else 0)
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    patterned = any(each.kind == "pattern" for each in threat.constraints)
    for constraint in threat.constraints:
        # Black and white cut a pattern off; whatever else there is holds all the same.
        if not patterned or (not extreme and epsilon < 0.1):
            assert_obeys(constraint, delta, masks)
    if threat.lattice:
        levels = (adversarial * 255).round()
        assert torch.equal(levels / 255, adversarial)
        assert torch.equal(levels.byte().float() / 255, adversarial)
    # Between black and white there is always room to move, but a random point of an L2 ball of
    # one grey level may be nearest to no other stored image, and a search of a few queries
    # need not have found one that does harm.
    keywords = getattr(attack, "keywords", {})
    inside = norm == "l2" and ("spread" in keywords or greys == 1)
    if not extreme and "queries" not in keywords and not (threat.lattice and inside):
        assert (delta != 0).flatten(1).any(1).all()


@pytest.mark.filterwarnings("ignore::palpate.attacks.ZeroGradientWarning")
@pytest.mark.parametrize(
    ("greys", "extreme"),
    [
        (1, True),
        (8, False),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in ((1, False), (8, True))),
    ],
)
@pytest.mark.parametrize("within", WITHINS, ids=str)
def test_medis_obeys_the_threat_model_the_ball_and_the_pixel_range(within, extreme, greys):
    images, masks = scene(2, extreme=extreme)
    threat, epsilon = threat_model(within), greys / 255
    press = partial(medis, Blend(), images, masks, within=within, steps=4, success=0.0)
    adversarial = press(epsilon=epsilon)
    delta = adversarial.double() - images.double()
    assert norms(delta, "linf").max() <= epsilon * (1 + 1e-6) + (1e-7 if threat.lattice else 0)
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    if not extreme:
        for constraint in threat.constraints:
            assert_obeys(constraint, delta, masks)
        assert (delta != 0).flatten(1).any(1).all()
    if threat.lattice:
        assert torch.equal((adversarial * 255).round() / 255, adversarial)


def test_medis_goes_by_the_places_of_the_truth_where_there_is_a_target():
    images, masks = scene(2, extreme=False)
    adversarial = medis(Blend(), images, masks, target="white", within="inside", success=1.0)
    assert ((adversarial - images)[~masks.expand_as(images)] == 0).all()
    assert (adversarial != images)[masks.expand_as(images)].any()


def test_medis_as_published_knows_no_threat_model(images, masks):
    stored = (images * 255).round() / 255
    for within in ("lattice", "inside"):
        with pytest.raises(ValueError, match="no threat model with faithful=True"):
            medis(Blend(), stored, masks, faithful=True, within=within)


@searched
def test_searches_do_harm_within_a_threat_model(attack, norm, within, net):
    images, masks = scene(1, extreme=False)
    masks = (net(images) > 0) ^ (torch.rand(masks.shape, generator=generator(2)) < 0.1)
    epsilon = EPSILON if norm == "linf" else 2 * LENGTH
    press = partial(attack, epsilon=epsilon, queries=300, norm=norm, within=within, loss=margin)
    found = press(net, images, masks, keep="loss", generator=generator(0))
    control = partial(noise, net, images, masks, epsilon=epsilon, norm=norm, within=within)
    clean, after, random = (
        margin(net(x), masks) for x in (images, found, control(generator=generator(1)))
    )
    assert (after > clean + (random - clean).abs()).all()


@pytest.mark.parametrize("attack", SEARCHES.values(), ids=SEARCHES)
def test_searches_do_not_ask_for_more_or_less_within_a_threat_model(attack, net):
    images, masks = scene(1, extreme=False)
    for within, mask in (("lattice", masks), ("inside", masks), ("inside", masks & False)):
        asked = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ZeroGradientWarning)
            attack(
                lambda x, asked=asked: asked.append(len(x)) or net(x),
                images, mask, epsilon=EPSILON, queries=11, within=within,
            )  # fmt: skip
        assert sum(asked) == 22


def test_simba_asks_nothing_about_vectors_that_are_not_free(net):
    images, masks = scene(1, extreme=False)
    masks[:], masks[:, :, 4, 5] = False, True
    seen = []
    simba(
        lambda x: seen.append(x.clone()) or net(x),
        images, masks, epsilon=EPSILON, queries=7, basis="pixel", within="inside",
    )  # fmt: skip
    moved = [(point != images).flatten(1).any(1).all() for point in seen[1:]]
    assert all(moved)


@pytest.mark.parametrize("within", WITHINS, ids=str)
def test_a_pattern_is_there_before_black_and_white_cut_it(within):
    images, masks = scene(3, extreme=True)
    threat = threat_model(within)
    delta = threat.confine(torch.randn(images.shape, generator=generator(1)), masks, 0.3, "linf")
    assert norms(delta, "linf").max() <= 0.3
    for constraint in threat.constraints:
        assert_obeys(constraint, delta, masks)


@meetings(
    ATTACKS,
    [(n, w) for n in ("linf", "l2") for w in ("anywhere", [], {}, {"tied": False}, Threat())],
    ("attack", "norm", "nothing"),
    every=5,
)
def test_the_whole_image_is_no_threat_model(attack, nothing, norm, net, images, masks):
    press = partial(attack, net, images, masks, epsilon=EPSILON, norm=norm)
    plain = press(generator=generator(0))
    assert torch.equal(press(generator=generator(0), within=nothing), plain)


def test_the_bare_ball_gives_the_images_it_always_gave(net, images, masks):
    """FGSM in the words of its paper, and the noise of the sign of a draw."""
    point = images.clone().requires_grad_()
    gradient = torch.autograd.grad(margin(net(point), masks).sum(), point)[0]
    expected = (images + EPSILON * gradient.sign()).clamp(0, 1)
    found = fgsm(net, images, masks, epsilon=EPSILON, loss=margin)
    assert_close(found, expected, rtol=0, atol=1e-7)


@meetings(
    {"linf": "linf", "l2": "l2"},
    [(within,) for within in WITHINS if within != "anywhere"],
    ("norm", "within"),
    every=2,
)
def test_a_smaller_threat_harms_but_less_than_the_whole_image(within, norm, net):
    images, masks = scene(0, extreme=False)
    size = EPSILON if norm == "linf" else LENGTH
    press = partial(pgd, net, images, masks, epsilon=size, steps=12, norm=norm, keep="loss")
    press = partial(press, loss=margin, random_start=False)
    whole, confined, clean = press(), press(within=within), images
    before, after, most = (margin(net(x), masks) for x in (clean, confined, whole))
    assert (after > before).all()
    assert (after < most + 1e-4).all()  # the lattice may hold the very corner of the cube


@pairs
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_image_is_confined_alone_as_in_a_batch(attack, within, norm):
    images, masks = scene(5, extreme=False)
    press = partial(attack, Blend(), epsilon=2 * EPSILON, norm=norm, within=within)
    together = press(images, masks, generator=[generator(0, i) for i in range(2)])
    alone = [
        press(images[i : i + 1], masks[i : i + 1], generator=[generator(0, i)]) for i in range(2)
    ]
    assert_close(together, torch.cat(alone), rtol=0, atol=1e-6)


@given(seed=st.integers(0, 2**20))
@pytest.mark.parametrize("within", WITHINS, ids=str)
def test_what_is_nearest_is_an_orthogonal_projection(within, seed):
    random = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(2, 3, *SIDES, generator=random, dtype=torch.float64) for _ in range(2))
    masks = torch.rand(2, 1, *SIDES, generator=random) > 0.5
    project = partial(threat_model(within).project, masks=masks)
    assert_close(project(project(a)), project(a))
    assert_close(project(a + 3 * b), project(a) + 3 * project(b))
    assert_close((project(a) * b).sum(), (a * project(b)).sum())


@pytest.mark.parametrize("steps", [1, 40])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_on_the_lattice_even_the_shortest_step_moves(steps, norm, net):
    images, masks = scene(1, extreme=False)
    tiny = partial(pgd, step_size=1e-5, steps=steps, random_start=False, within="lattice")
    moved = tiny(net, images, masks, epsilon=EPSILON, norm=norm, loss=margin)
    assert (norms(moved - images, "linf") > 0.9 / 255).all()


def test_on_the_lattice_equal_gradients_share_a_ball_that_is_too_small_for_all(images, masks):
    images = (images * 255).round() / 255
    uniform = fgsm(  # every value has the same gradient, and the ball has room for 9 of 192
        lambda x: x.mean(1, keepdim=True),
        images,
        torch.zeros_like(masks),
        epsilon=3.01 / 255,
        norm="l2",
        loss=margin,
        within="lattice",
    )
    assert ((uniform - images) * 255).round().flatten(1).sum(1).tolist() == [9] * 4


def test_on_the_lattice_the_l2_ball_is_used_up(net):
    images, masks = scene(1, extreme=False)
    for epsilon in (0.05, 0.5, 1.0):
        found = pgd(net, images, masks, epsilon=epsilon, norm="l2", steps=20, within="lattice")
        assert (norms(found - images, "l2") > 0.9 * epsilon).all()


def test_every_scored_iterate_is_storable(net):
    images, masks = scene(2, extreme=False)
    seen = []

    def watched(x):
        seen.append(x.detach().clone())
        return net(x)

    pgd(watched, images, masks, epsilon=3 / 255, steps=7, restarts=2, within="lattice")
    assert len(seen) == 16
    for point in seen:
        assert torch.equal((point * 255).round() / 255, point)


def test_an_image_in_which_no_pixel_is_free_is_reported(net, images, masks):
    masks[2] = False
    with pytest.warns(ZeroGradientWarning, match="for 1 of 4 images .* leaves no pixel free"):
        adversarial = pgd(net, images, masks, epsilon=EPSILON, steps=2, within="inside")
    assert torch.equal(adversarial[2], images[2])
    assert not torch.equal(adversarial[1], images[1])


def test_places_stay_with_their_images_when_others_finish(net, images):
    masks = net(images) > torch.tensor([-0.1, -30.0, 0.3, 0.0]).view(4, 1, 1, 1)
    settings = {"epsilon": 0.1, "steps": 12, "early_stop": True, "within": "inside"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZeroGradientWarning)
        found = pgd(net, images, masks, generator=generator(0), **settings)
    assert ((found - images)[~masks.expand_as(images)] == 0).all()


@pytest.mark.parametrize(
    ("within", "message"),
    [
        ("middle", "no threat model 'middle'; expected some of anywhere, tied, inside"),
        ("border", r"a number with threat model 'border', as in \{border: 16\}"),
        ({"border": 0}, "border of 1 pixel or more, got 0"),
        ({"border": 1.5}, "border of 1 pixel or more, got 1.5"),
        ({"periodic": -1}, "tile of 1 pixel or more, got -1"),
        ({"low_frequency": 0.0}, "above 0 and at most 1, got 0.0"),
        ({"low_frequency": 2}, "above 0 and at most 1, got 2"),
        ({"tied": 3}, "'tied' without a number, got 3"),
        (["inside", "outside"], "'inside' or 'outside', got both"),
        ([{"low_frequency": 0.1}, "lattice"], "without the 8-bit lattice, got both"),
        ([{"periodic": 4}, "lattice"], "without the 8-bit lattice, got both"),
        ([{"low_frequency": 0.1}, "inside"], r"alone or with tied channels, got it with Inside"),
        ([{"low_frequency": 0.1}, {"periodic": 4}], "got it with Periodic"),
        ([{"border": 2}, {"periodic": 4}], "got it with Border"),
        ([3], "name, mapping or list, got 3"),
    ],
)
@pytest.mark.parametrize("attack", [fgsm, pgd, apgd, sea, noise, square, simba, spsa, medis])
def test_refuses_what_is_no_threat_model(
    attack, within, message, model, images, masks, without_shape_checks
):
    with pytest.raises(ValueError, match=message):
        attack(model, images, masks, epsilon=EPSILON, within=within)


@pytest.mark.parametrize("attack", [*ATTACKS.values(), medis], ids=[*ATTACKS, "medis"])
def test_refuses_a_lattice_that_fits_neither_images_nor_ball(attack, model, images, masks):
    with pytest.raises(ValueError, match="images of whole grey levels"):
        attack(model, images, masks, epsilon=EPSILON, within="lattice")
    stored = (images * 255).round() / 255
    with pytest.raises(ValueError, match="epsilon of 1 / 255 or more with the 8-bit lattice, got"):
        attack(model, stored, masks, epsilon=0.9 / 255, within="lattice")
    assert torch.equal(attack(model, stored, masks, epsilon=0.0, within="lattice"), stored)


@pytest.mark.parametrize("attack", [fgsm, pgd, noise])
def test_a_grey_level_in_all_channels_is_longer_than_one_in_l2(attack, model, images, masks):
    stored = (images * 255).round() / 255
    press = partial(attack, model, stored, masks, norm="l2", within=["tied", "lattice"])
    for epsilon in (1.0, 1.7):
        with pytest.raises(ValueError, match=r"sqrt\(3\) / 255 or more with .* and tied channels"):
            press(epsilon=epsilon / 255)
    found = press(epsilon=3**0.5 / 255)
    if attack is not noise:  # which may round to nothing
        assert ((found != stored).flatten(1).any(1)).all()
    assert torch.equal(press(epsilon=0.0), stored)


class LeftHalf:
    """A constraint that the package does not know."""

    kind = "place"
    keeps_clamped = True

    def project(self, delta: Images, masks: Masks) -> Images:
        del masks
        half = delta.shape[-1] // 2
        return torch.cat([delta[..., :half], torch.zeros_like(delta[..., half:])], dim=-1)


def test_takes_constraints_of_ones_own(net, images, masks):
    adversarial = pgd(net, images, masks, epsilon=EPSILON, within=[LeftHalf(), "tied"])
    delta = adversarial - images
    assert (delta[..., 4:] == 0).all()
    assert (delta[..., :4] != 0).all()


def test_names_are_those_of_the_registry():
    made = {"border": 3, "low_frequency": 0.2, "periodic": 5}
    for name, kind in CONSTRAINTS.items():
        value = {name: made[name]} if name in made else name
        assert [type(each) for each in threat_model(value).constraints] == [kind]
