"""The pixels that suffice, and the proximal operators, against other ways to find them."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch.testing import assert_close

from palpate.attacks.minimal.dice_goal import Goal
from palpate.attacks.minimal.proximal import proximal_operator
from palpate.overlap import count, dice

PIXELS = st.lists(st.tuples(st.integers(-9, 9), st.booleans()), min_size=2, max_size=24)


# Equal prices: the pixel that is worth more must come first, or the other one is superfluous.
@example([(1, False), (-1, True)], 0.2, False, False)
@example([(2, False), (-2, True), (1, True)], 0.5, False, False)
@example([(-1, False), (-1, True)], 0.2, True, False)
@settings(deadline=None)
@given(PIXELS, st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]), st.booleans(), st.booleans())
def test_the_cheapest_pixels_suffice_and_none_is_superfluous(pixels, tau, targeted, is_l2):
    if tau == (0.0 if targeted else 1.0):
        return
    goal = Goal(tau, targeted, 0.0)
    logits = torch.tensor([float(z) or 0.5 for z, _ in pixels]).view(1, 1, 1, -1)
    masks = torch.tensor([m for _, m in pixels]).view(1, 1, 1, -1)
    short = goal.shortfall(logits, masks)
    chosen = goal.cheapest_pixels(short, masks, "l2" if is_l2 else "linf")
    wanted = masks if targeted else ~masks

    def reached(turned):
        return goal.is_reached(torch.where(torch.where(turned, wanted, ~wanted), 1.0, -1.0), masks)

    assert reached(chosen).item()
    price = short.double()
    if is_l2:
        price = price / (tau + (2 - 2 * tau) * masks.double()).sqrt().clamp_min(1e-6)
    dearest = torch.where(chosen, price, -torch.inf).flatten().argmax()
    fewer = chosen.clone()
    fewer.view(-1)[dearest] = False
    if chosen.any():
        assert not reached(fewer).item()
    # Nothing that was left out and is worth something is cheaper than what was taken.
    worthless = ~masks if tau == 0 and masks.any() else torch.zeros_like(masks)
    left = ~chosen & ~worthless
    assert price[left].min() >= price[chosen].max() if chosen.any() and left.any() else True
    assert not (chosen & worthless).any()


@given(st.floats(0.01, 100))
@settings(deadline=None, max_examples=20)
def test_the_shortfall_has_no_unit(scale):
    goal = Goal(0.5, False, 0.3)
    logits = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)) + 0.3
    masks = logits > 0.3
    scaled = (logits - 0.3) * scale + 0.3
    assert_close(goal.shortfall(scaled, masks), goal.shortfall(logits, masks), rtol=1e-3, atol=1e-3)
    assert (goal.shortfall(logits, masks) >= 0).all()
    assert (goal.shortfall(logits, ~masks) <= 0).all()


def test_the_goal_is_the_dice_score():
    masks = torch.zeros(1, 1, 1, 4, dtype=torch.bool)
    masks[..., :2] = True
    logits = torch.tensor([1.0, -1.0, 1.0, -1.0]).view(1, 1, 1, 4)
    assert dice(count(logits > 0, masks)).item() == 0.5
    assert Goal(0.5, False, 0.0).is_reached(logits, masks).item()
    assert not Goal(0.49, False, 0.0).is_reached(logits, masks).item()
    assert Goal(0.5, True, 0.0).is_reached(logits, masks).item()
    assert not Goal(0.51, True, 0.0).is_reached(logits, masks).item()
    assert not Goal(0.5, True, 1.0).is_reached(logits, masks).item()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("weight", [0.01, 0.3, 50.0])
def test_shrinking_minimises_norm_and_distance_together(norm, weight):
    random = torch.Generator().manual_seed(4)
    v = torch.randn(2, 1, 2, 3, generator=random, dtype=torch.float64)
    h = 0.1 + torch.rand(2, 1, 2, 3, generator=random, dtype=torch.float64)
    wide = torch.full_like(v, 9.0)
    found = proximal_operator(
        v, torch.full((2,), weight, dtype=torch.float64), h, norm, -wide, wide
    )

    def cost(x, i):
        x = torch.as_tensor(x).view_as(v[i])
        length = x.norm() if norm == "l2" else x.abs().max()
        return (weight * length + 0.5 * (h[i] * (x - v[i]).square()).sum()).item()

    for i in range(2):
        ours = cost(found[i].flatten(), i)
        starts = (found[i].flatten().numpy(), v[i].flatten().numpy(), 0 * v[i].flatten().numpy())
        best = min(
            minimize(cost, s, (i,), method="Powell", options={"xtol": 1e-9, "ftol": 1e-12}).fun
            for s in starts
        )
        assert ours <= best + 1e-6
    if weight == 50.0:
        assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-5)


def test_shrinking_stays_within_the_bounds():
    v = torch.tensor([3.0, -3.0, 0.5]).view(1, 1, 1, 3)
    low, high = torch.full_like(v, -1.0), torch.full_like(v, 0.2)
    for norm in ("linf", "l2"):
        found = proximal_operator(v, torch.tensor([1e-3]), torch.ones_like(v), norm, low, high)
        assert_close(found, torch.tensor([0.2, -1.0, 0.2]).view_as(v), rtol=0, atol=1e-2)
