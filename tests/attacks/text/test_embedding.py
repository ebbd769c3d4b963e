"""PGD on what the decoder is told: the optimum where it is known, and the contract."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from palpate.attacks import ZeroGradientWarning
from palpate.attacks.losses import margin
from palpate.attacks.text import PromptSource, View, attack_text, embedding, embedding_pgd
from palpate.randomness import generator

from .listening import word_sum

REGIONS = {"ball": {"radius": 0.4}, "cap": {"cosine": 0.8}}
every_region = pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)


@pytest.fixture
def linear():
    """A view under which the loss is linear in the condition, its slope, and a prompt."""
    model, images = word_sum(), torch.full((1, 3, 8, 8), 0.5)
    masks = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.5
    signs = torch.where(masks, -1.0, 1.0).flatten()
    slope = (model.pixels * signs).mean(1, keepdim=True).T
    # No pixel is ever foreground, so that the loss alone decides.
    view = View(model, images, masks, loss=margin, threshold=1e2)
    return view, slope, PromptSource("red polyp")


def unit(x):
    return x / x.norm()


def test_in_the_ball_it_finds_the_optimum_of_a_linear_model(linear, random):
    view, slope, source = linear
    origin = view.model.read([source.prompt])
    found = embedding_pgd(view, source, radius=0.4, generator=random())
    assert_close(found, origin + 0.4 * origin.norm() * unit(slope))


def test_in_the_cap_it_finds_the_optimum_of_a_linear_model(linear, random):
    view, slope, source = linear
    origin = view.model.read([source.prompt])
    axis = unit(origin)
    aside = unit(slope - (slope @ axis.T) * axis)
    assert torch.cosine_similarity(slope, origin) < 0.8  # else the optimum were inside
    found = embedding_pgd(view, source, cosine=0.8, steps=60, generator=random())
    assert_close(found, origin.norm() * (0.8 * axis + 0.6 * aside), rtol=0, atol=1e-3)


@every_region
@pytest.mark.parametrize("restarts", [1, 3])
def test_it_stays_in_its_region_and_harms(region, restarts, view, source, random):
    origin = view.model.read([source.prompt])
    found = embedding_pgd(view, source, restarts=restarts, generator=random(), **region)
    assert found.shape == origin.shape
    assert not found.requires_grad
    assert ((found - origin).norm() / origin.norm()) > 0.1
    if "radius" in region:
        assert (found - origin).norm() <= 0.4 * origin.norm() * (1 + 1e-5)
    else:
        assert torch.cosine_similarity(found, origin) >= 0.8 - 1e-6
        assert_close(found.norm(), origin.norm())
    before, after = view.harm(origin), view.harm(found)
    assert after.dsc < before.dsc - 0.05
    assert after.loss > before.loss


@every_region
def test_steps_and_restarts_never_help_the_model(region, model, pixels, mask, source, random):
    # A batch of three starts rounds differently from a batch of one. In single precision this
    # moves the first start far enough to change some pixels of its mask; in double it does not.
    view = View(model.double(), pixels.double(), mask)
    attack = partial(embedding_pgd, view, source, generator=random(), **region)
    few, more = (view.harm(attack(steps=n, step_size=0.1)).dsc for n in (2, 8))
    assert more <= few
    alone = view.harm(attack()).dsc
    assert view.harm(attack(restarts=3)).dsc <= alone


def test_the_worst_point_on_the_way_is_kept(view, source, random):
    """Steps across the whole ball jump about; each iterate but the last is that of fewer steps."""
    attack = partial(embedding_pgd, view, source, radius=0.4, step_size=3.0, generator=random())
    scores = [view.harm(attack(steps=n)).dsc.item() for n in range(1, 9)]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1


def test_it_goes_beyond_random_directions(view, source, random):
    origin = view.model.read([source.prompt])
    noise = torch.randn(50, 32, generator=random())
    drawn = origin + 0.4 * origin.norm() * noise / noise.norm(dim=1, keepdim=True)
    found = embedding_pgd(view, source, radius=0.4, generator=random())
    assert view.harm(found).dsc < view.harm(drawn).dsc.min()


def test_it_is_reproducible(view, source):
    runs = [
        embedding_pgd(view, source, radius=0.3, restarts=2, steps=4, generator=generator(0, "k"))
        for _ in range(2)
    ]
    assert torch.equal(*runs)


def test_no_radius_is_no_attack(view, source, random):
    found = embedding_pgd(view, source, radius=0.0, generator=random())
    assert torch.equal(found, view.model.read([source.prompt]))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off(context, view, source, random):
    expected = embedding_pgd(view, source, radius=0.3, steps=3, generator=random())
    with context():
        found = embedding_pgd(view, source, radius=0.3, steps=3, generator=random())
        assert torch.equal(found, expected)


def test_no_trace_is_left_on_the_model(model, view, source, random):
    embedding_pgd(view, source, radius=0.3, steps=3, generator=random())
    assert all(p.grad is None for p in model.parameters())


def test_a_finding_has_the_condition_and_the_prompt_it_was(view, source, random):
    finding = attack_text(embedding(radius=0.4), view, source, generator=random())
    assert finding.prompt == source.prompt
    assert view.harm(finding.condition).dsc.item() == finding.dsc
    assert (embedding(radius=0.4).norm, embedding(radius=0.4).epsilon) == ("embedding", 0.4)
    assert embedding(cosine=0.9).norm == "cosine"
    assert embedding(cosine=0.9).epsilon == pytest.approx(0.1)


def test_a_gradient_of_zero_is_said_aloud(random):
    model, pixels = word_sum(), torch.full((1, 3, 8, 8), 0.5)
    view = View(model, pixels, pixels[:, :1] > 0.5, loss=lambda x, _: 0 * x.flatten(1).sum(1))
    with pytest.raises(ZeroGradientWarning, match="gradient of the condition was zero"):
        embedding_pgd(view, PromptSource("polyp"), radius=0.3, generator=random())


def test_a_decoder_without_gradient_is_refused(view, source, random, monkeypatch):
    monkeypatch.setattr(view.model, "decode", torch.no_grad()(view.model.decode))
    with pytest.raises(RuntimeError, match="depend on the text"):
        embedding_pgd(view, source, radius=0.3, generator=random())


def test_a_loss_that_is_not_finite_is_refused(model, pixels, mask, source, random):
    view = View(model, pixels, mask, loss=lambda x, _: x.flatten(1).sum(1) * torch.inf)
    with pytest.raises(FloatingPointError, match="finite losses"):
        embedding_pgd(view, source, radius=0.3, generator=random())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "radius or cosine, got radius=None and cosine=None"),
        ({"radius": 0.1, "cosine": 0.9}, "radius or cosine"),
        ({"radius": -0.1}, "radius >= 0"),
        ({"radius": float("nan")}, "radius >= 0"),
        ({"cosine": 1.1}, "cosine above -1 and at most 1"),
        ({"radius": 0.1, "steps": 0}, "steps >= 1"),
        ({"radius": 0.1, "restarts": 0}, "restarts >= 1"),
        ({"radius": 0.1, "step_size": 0.0}, "step_size > 0"),
    ],
)
def test_senseless_regions_are_refused(settings, message, view, source, random):
    with pytest.raises(ValueError, match=message):
        embedding_pgd(view, source, generator=random(), **settings)
