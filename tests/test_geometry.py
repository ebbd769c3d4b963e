import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from palpate.geometry import (
    norms,
    perturb,
    project,
    random_direction,
    random_in_ball,
    steepest,
)
from palpate.randomness import generator

every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_norms_of_a_known_vector():
    delta = torch.zeros(2, 3, 4, 4)
    delta[0, 0, 0, 0], delta[0, 2, 3, 3] = 3.0, -4.0
    assert_close(norms(delta, "l2"), torch.tensor([5.0, 0.0]))
    assert_close(norms(delta, "linf"), torch.tensor([4.0, 0.0]))


def test_long_vectors_are_measured_to_the_last_digit():
    delta = torch.rand(1, 3, 600, 600, generator=torch.Generator().manual_seed(0)) / 255
    exact = delta.double().square().sum().sqrt()
    assert_close(norms(delta, "l2").double(), exact[None], rtol=1e-7, atol=0)


@every_norm
def test_steepest_has_unit_length_and_the_largest_product(norm):
    gradient = normal(0, 3, 3, 5, 5)
    direction = steepest(gradient, norm)
    assert_close(norms(direction, norm), torch.ones(3))
    dual = gradient.abs().sum((1, 2, 3)) if norm == "linf" else norms(gradient, "l2")
    assert_close((direction * gradient).sum((1, 2, 3)), dual)


@every_norm
@given(power=st.integers(-37, 30))
def test_steepest_does_not_depend_on_the_size_of_the_gradient(norm, power):
    gradient = normal(0, 2, 3, 4, 4)
    assert_close(steepest(gradient * 10.0**power, norm), steepest(gradient, norm))


@every_norm
def test_no_direction_where_it_is_flat(norm):
    assert torch.equal(steepest(torch.zeros(2, 3, 4, 4), norm), torch.zeros(2, 3, 4, 4))


@every_norm
@given(seed=st.integers(0, 99), epsilon=st.floats(1e-3, 2.0), scale=st.floats(1e-3, 1e3))
def test_projection_is_the_nearest_point(norm, seed, epsilon, scale):
    delta = scale * normal(seed, 2, 3, 4, 4)
    projected = project(delta, epsilon, norm)
    assert norms(projected, norm).max() <= epsilon * (1 + 1e-6)
    assert_close(project(projected, epsilon, norm), projected)
    inside = norms(delta, norm) <= epsilon
    assert torch.equal(projected[inside], delta[inside])
    other = random_in_ball(delta, epsilon, norm, generator(seed))  # another point of the ball
    assert (norms(projected - delta, "l2") <= norms(other - delta, "l2") * (1 + 1e-6)).all()


@given(seed=st.integers(0, 99), power=st.floats(-6, 0))
def test_perturbing_never_goes_farther_than_asked(seed, power):
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 3, 16, 16, generator=random)
    images[0] = (images[0] * 255).round() / 255
    delta = 10.0**power * (2 * torch.rand(images.shape, generator=random) - 1).sign()
    moved = perturb(images, delta)
    gone = (moved.double() - images.double()).abs()
    assert (gone <= delta.double().abs() * (1 + 1e-6)).all()
    assert moved.min() >= 0
    assert moved.max() <= 1
    free = ((images + delta) > 0) & ((images + delta) < 1)
    assert_close((moved - images)[free], delta[free], rtol=0, atol=2e-7)


def test_no_perturbation_no_change():
    images = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    assert torch.equal(perturb(images, torch.zeros_like(images)), images)


@every_norm
def test_random_points_lie_in_the_ball_and_fill_it(norm):
    like = torch.zeros(2000, 3, 1, 1)
    length = norms(random_in_ball(like, 0.5, norm, generator(0)), norm) / 0.5
    assert length.max() <= 1 + 1e-6
    # In d dimensions the share of the ball within radius r is r ** d: uniform if so cubed.
    assert_close((length**3).mean(), torch.tensor(0.5), atol=0.03, rtol=0)
    assert (length**3).min() < 0.01


@every_norm
def test_random_directions_have_unit_length_and_no_preference(norm):
    direction = random_direction(torch.zeros(4000, 3, 2, 2), norm, generator(0))
    assert_close(norms(direction, norm), torch.ones(4000))
    assert direction.mean((0,)).abs().max() < 0.06


@every_norm
@pytest.mark.parametrize("draw", [random_direction, lambda x, n, g: random_in_ball(x, 0.1, n, g)])
def test_with_a_generator_each_an_image_draws_alike_in_any_batch(norm, draw):
    like = torch.zeros(3, 3, 4, 4)
    together = draw(like, norm, [generator(0, i) for i in range(3)])
    alone = [draw(like[:1], norm, [generator(0, i)]) for i in range(3)]
    assert torch.equal(together, torch.cat(alone))
    assert not torch.equal(together[0], together[1])


def test_counts_generators():
    with pytest.raises(ValueError, match=r"one generator per image \(3\), got 2"):
        random_direction(torch.zeros(3, 3, 4, 4), "l2", [generator(0), generator(1)])
