import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from palpate.data.prepare.outlines import from_polygons, from_runs, is_empty

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))


def runs_of(mask):
    """Run lengths by the definition: walk down the columns and count."""
    runs, last = [0], False
    for value in mask.T.ravel():
        if bool(value) != last:
            runs.append(0)
            last = not last
        runs[-1] += 1
    return runs


def compressed(runs):
    """COCO's text, written from its description."""
    text = ""
    for n, run in enumerate(runs):
        value = run - runs[n - 2] if n > 2 else run
        while True:
            bits, value = value & 31, value >> 5
            done = (value == 0 and not bits & 16) or (value == -1 and bits & 16)
            text += chr(48 + bits + (0 if done else 32))
            if done:
                break
    return text


@given(shapes, st.integers(0, 99), st.booleans())
def test_run_lengths_give_back_the_mask(shape, seed, as_text):
    mask = np.random.default_rng(seed).random(shape) > 0.4
    runs = runs_of(mask)
    segmentation = {"size": list(shape), "counts": compressed(runs) if as_text else runs}
    assert_array_equal(from_runs(segmentation, shape), mask)
    assert is_empty(segmentation) == (not mask.any())


@pytest.mark.parametrize("counts", [[], "", ["a"], [[96]], [95], [10**15], None])
def test_broken_run_lengths_do_not_count_as_empty(counts):
    assert not is_empty({"size": [8, 12], "counts": counts})


def test_a_text_of_the_reference_implementation():
    """What pycocotools writes for a rectangle, rows 100 to 199 and columns 50 to 349."""
    mask = np.zeros((480, 640), dtype=bool)
    mask[100:200, 50:350] = True
    counts = compressed(runs_of(mask))
    assert_array_equal(from_runs({"size": [480, 640], "counts": counts}, (480, 640)), mask)


@pytest.mark.reference
@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.integers(0, 99))
def test_run_lengths_are_those_of_pycocotools(shape, seed):
    coco = pytest.importorskip("pycocotools.mask")
    mask = np.random.default_rng(seed).random(shape) > 0.4
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = theirs["counts"].decode()
    assert text == compressed(runs_of(mask))
    assert_array_equal(from_runs({"size": list(shape), "counts": text}, shape), mask)


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # pycocotools and NumPy 2
@given(st.integers(0, 99))
def test_polygons_agree_with_pycocotools_but_for_the_edge(seed):
    coco = pytest.importorskip("pycocotools.mask")
    points = np.random.default_rng(seed).uniform(0, 60, (5, 2))
    middle = points.mean(axis=0)
    angles = np.arctan2(*(points - middle).T)
    polygon = points[np.argsort(angles)].ravel().tolist()
    theirs = coco.decode(coco.merge(coco.frPyObjects([polygon], 60, 60))) > 0
    ours = from_polygons([polygon], (60, 60))
    assert (ours ^ theirs).sum() <= 0.05 * theirs.sum() + 12


@given(st.floats(0, 8), st.floats(0, 8), st.floats(0.1, 8), st.floats(0.1, 8))
def test_a_rectangle_holds_the_pixels_whose_centres_are_in_it(x, y, width, height):
    ours = from_polygons([[x, y, x + width, y, x + width, y + height, x, y + height]], (10, 12))
    rows, columns = np.mgrid[:10, :12] + 0.5
    inside = (columns > x) & (columns < x + width) & (rows > y) & (rows < y + height)
    edge = np.isin(columns, [x, x + width]) | np.isin(rows, [y, y + height])
    assert_array_equal(ours[~edge], inside[~edge])


def test_parts_add_up_and_the_outside_is_cut_off():
    parts = [[-5, -5, 2, -5, 2, 2, -5, 2], [3, 3, 99, 3, 99, 99, 3, 99]]
    mask = from_polygons(parts, (5, 5))
    assert mask[:2, :2].all()
    assert mask[3:, 3:].all()
    assert mask.sum() == 8


def test_a_hole_drawn_as_one_line_stays_open():
    ring = [0, 0, 6, 0, 6, 6, 0, 6, 0, 0, 2, 2, 2, 4, 4, 4, 4, 2, 2, 2]
    mask = from_polygons([ring], (6, 6))
    assert not mask[2:4, 2:4].any()
    assert mask.sum() == 32


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [2, 2], "counts": [1, 2]}, "add up to 2 x 2 pixels, got 3"),
        ({"size": [2, 2], "counts": [1, 2, 3]}, "add up to 2 x 2 pixels, got 6"),
        ({"size": [2, 2], "counts": [5, -1]}, "of zero or more"),
        ({"size": [2, 2], "counts": [1.0, 3]}, "of zero or more"),
        ({"size": [2, 2], "counts": [True, 3]}, "of zero or more"),
        ({"size": [2, 2], "counts": "\u2603"}, "compressed run lengths"),
        ({"size": [2, 2], "counts": "o" * 50}, "compressed run lengths"),
        ({"size": [2, 2], "counts": "Q"}, "ends within one"),
        ({"size": [2, 3], "counts": [6]}, r"for \[2, 2\] \(height, width\), got \[2, 3\]"),
        ({"counts": [4]}, "with 'size' and 'counts'"),
        ([1, 2], "with 'size' and 'counts'"),
    ],
)
def test_broken_run_lengths_are_refused(segmentation, message):
    with pytest.raises(ValueError, match=message):
        from_runs(segmentation, (2, 2))


def test_run_lengths_of_an_impossible_image_are_refused():
    with pytest.raises(ValueError, match="at most"):
        from_runs({"size": [100_000, 100_000], "counts": [10**10]}, (100_000, 100_000))


@pytest.mark.parametrize(
    "polygons",
    [[], {}, [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], [["a"] * 6], [[1, 2]], [[float("nan")] * 6]],
)
def test_broken_polygons_are_refused(polygons):
    with pytest.raises(ValueError, match="polygon"):
        from_polygons(polygons, (9, 9))
