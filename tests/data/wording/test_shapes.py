import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull, QhullError

from palpate.data.wording.shapes import SHAPES, _form, shape_words
from palpate.text.lexicon import lexicon
from tests.data.wording.drawn import blank, ellipse, polygon, turned

angles = st.floats(0, 180)


def cropped(mask):
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def word(mask):
    return shape_words(cropped(mask))[0]


@given(angles)
def test_ellipses_are_oval_and_circles_round_however_they_lie(angle):
    assert word(ellipse(120, 120, 60, 60, 40, 24, angle)) == "oval"
    assert word(ellipse(120, 120, 60, 60, 40, 37, angle)) == "round"


@given(angles)
def test_rectangles_and_triangles_are_known_however_they_lie(angle):
    box = [(-40, -20), (40, -20), (40, 20), (-40, 20)]
    square = [(-30, -30), (30, -30), (30, 30), (-30, 30)]
    triangle = [(-40, -25), (40, -25), (0, 40)]
    assert word(polygon(120, 120, turned(box, angle, 60, 60))) == "rectangular"
    assert word(polygon(120, 120, turned(square, angle, 60, 60))) == "square"
    assert word(polygon(120, 120, turned(triangle, angle, 60, 55))) == "triangular"


def test_an_arch_is_a_horseshoe_and_a_star_is_irregular():
    arch = ellipse(120, 120, 60, 80, 40, 70) & ~ellipse(120, 120, 60, 90, 28, 58)
    arch[85:] = False
    assert word(arch) == "horseshoe"
    star = sum(ellipse(120, 120, 60, 60, 50, 9, angle) for angle in (0, 60, 120)) > 0
    assert shape_words(cropped(star)) == ("irregular", "irregular")


@given(angles, st.floats(4, 40), st.floats(0.3, 1))
def test_convex_regions_are_regular_at_any_size(angle, a, ratio):
    region = cropped(ellipse(100, 100, 50, 50, a, max(a * ratio, 2), angle))
    assert shape_words(region)[1] == "regular"


def test_a_dent_makes_the_outline_irregular():
    region = ellipse(120, 120, 60, 60, 40, 40) & ~ellipse(120, 120, 60, 20, 12, 12)
    assert shape_words(cropped(region)) == ("round", "irregular")


@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 40), st.floats(0.01, 0.9))
def test_the_hull_is_that_of_scipy(seed, height, width, share):
    region = np.random.default_rng(seed).random((height, width)) < share
    region[0, 0] = region[-1, -1] = True
    rows, columns = np.nonzero(region)
    points = np.stack([columns, rows], axis=1)
    try:
        sides = ConvexHull(points).equations
    except QhullError:  # all on one line
        return
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2)
    inside = (grid @ sides[:, :2].T + sides[:, 2] <= 1e-9).all(axis=1).sum()
    form = _form(region)
    assert form.solidity == pytest.approx(len(points) / inside)
    corners = np.concatenate([points + np.array([dx, dy]) for dx in (0, 1) for dy in (0, 1)])
    assert form.fill == pytest.approx(ConvexHull(corners).volume / least_area(corners))


def least_area(points):
    """Of the least of very many rectangles around points."""
    hull = points[ConvexHull(points).vertices]
    edges = np.roll(hull, -1, axis=0) - hull
    best = np.inf
    for x, y in edges / np.hypot(*edges.T)[:, None]:
        turned_points = hull @ np.array([[x, -y], [y, x]])
        best = min(best, np.prod(np.ptp(turned_points, axis=0)))
    return best


def test_one_line_of_pixels_has_a_shape():
    assert shape_words(np.eye(9, dtype=bool))[1] == "regular"
    assert shape_words(np.ones((1, 9), dtype=bool)) == ("rectangular", "regular")
    assert shape_words(np.ones((1, 1), dtype=bool)) == ("square", "regular")


def test_attacks_know_every_shape():
    (family,) = lexicon().attributes["shape"]
    assert {concept[0] for concept in family} >= set(SHAPES)


def test_blank_rows_inside_do_not_matter():
    region = blank(9, 9)
    region[0, :] = region[8, :] = True
    region[:, 4] = False
    assert 0 < _form(region).solidity < 1
