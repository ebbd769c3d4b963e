import numpy as np
import pytest

from palpate.data.phantoms.canvas import Canvas, noise, ramp, ridge, soften
from palpate.data.phantoms.outline import Outline, random_waves
from palpate.data.phantoms.words import LARGE, SMALL, place_word, size_word


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("cells", [3, 20, 70])
def test_noise_has_mean_0_and_standard_deviation_1(cells, rng):
    fields = np.stack([Canvas(96).noise(rng, cells) for _ in range(60)])
    assert abs(fields.mean()) < 0.12
    assert 0.85 < fields.std() < 1.15
    assert fields.dtype == np.float32


def test_noise_is_the_same_field_at_every_size():
    small, large = (Canvas(size).noise(np.random.default_rng(3), 6) for size in (64, 192))
    # The centre of every pixel of the small field is the centre of one in each 3 x 3 of the large.
    np.testing.assert_allclose(large[1::3, 1::3], small, atol=1e-4)


def test_noise_grains_are_as_long_as_the_lattice_says(rng):
    field = noise(rng, (256, 256), (64, 8))
    down, across = (np.abs(np.diff(field, axis=axis)).mean() for axis in (0, 1))
    assert 6 < down / across < 10


def test_ramp_is_0_before_1_behind_and_half_between():
    values = np.float32([-1, 2, 3, 4, 9])
    np.testing.assert_allclose(ramp(values, 2.0, 4.0), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(ramp(values, 4.0, 2.0), [1, 1, 0.5, 0, 0])


def test_ridge_is_1_on_the_line_only():
    np.testing.assert_allclose(ridge(np.float32([0, 1, -1]), 2.0), [1, np.exp(-4), np.exp(-4)])


def test_softening_keeps_what_is_even_and_the_sum_of_what_is_not():
    point = np.zeros((3, 9, 9), np.float32)
    point[:, 4, 4] = 1
    soft = soften(point, 1.0)
    np.testing.assert_allclose(soft[0, 3:6, 3:6], np.outer([1, 2, 1], [1, 2, 1]) / 16)
    np.testing.assert_allclose(soften(np.ones_like(point), 0.7), 1, rtol=1e-6)
    np.testing.assert_array_equal(soften(point, 0.0), point)


def test_an_outline_encloses_the_area_of_its_radius():
    outline = Outline(x=0.1, y=-0.2, radius=0.5, aspect=1.7, angle=0.8)
    area = 4 * (outline.level(Canvas(400)) < 1).mean()
    assert area == pytest.approx(np.pi * 0.5**2, rel=0.01)


def test_an_outline_lies_where_and_as_it_says():
    level = Outline(x=0.4, y=-0.4, radius=0.3, aspect=2.0, angle=0.0).level(Canvas(200))
    rows, columns = np.nonzero(level < 1)
    assert (columns.mean() + 0.5) / 100 - 1 == pytest.approx(0.4, abs=0.01)
    assert (rows.mean() + 0.5) / 100 - 1 == pytest.approx(-0.4, abs=0.01)
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(2.0, rel=0.05)


def test_waves_waver_but_do_not_move_the_level_in_the_centre(rng):
    waved = Outline(0.0, 0.0, 0.5, waves=random_waves(rng, 0.2)).level(Canvas(101))
    assert waved[50, 50] == 0
    assert waved[50, 80] != waved[80, 50]


@pytest.mark.parametrize(
    ("rows", "columns", "word"),
    [
        (slice(0, 3), slice(0, 3), "top left"),
        (slice(0, 3), slice(3, 6), "top"),
        (slice(3, 6), slice(6, 9), "right"),
        (slice(3, 6), slice(3, 6), "center"),
        (slice(6, 9), slice(0, 3), "bottom left"),
    ],
)
def test_places_are_ninths_of_the_image(rows, columns, word):
    mask = np.zeros((9, 9), bool)
    mask[rows, columns] = True
    assert place_word(mask) == word


@pytest.mark.parametrize(
    ("area", "word"),
    [(SMALL - 0.01, "small"), (SMALL + 0.01, "medium"), (LARGE - 0.01, "medium"), (0.9, "large")],
)
def test_sizes_are_parts_of_the_area(area, word):
    mask = (np.arange(10_000) < area * 10_000).reshape(100, 100)
    assert size_word(mask) == word
