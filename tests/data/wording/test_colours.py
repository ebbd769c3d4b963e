import io

import numpy as np
import pytest
from PIL import Image

from palpate.data.wording import describe_colour
from palpate.data.wording.colours import lab
from palpate.data.wording.wordings import colour_samples
from palpate.text.lexicon import lexicon

EVERYWHERE = np.ones((20, 20), dtype=bool)


def filled(rgb, size=20):
    return np.full((size, size, 3), rgb, dtype=np.uint8)


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0.0, 0.0)),
    ],
)
def test_lab_is_that_of_the_standard(rgb, expected):
    np.testing.assert_allclose(lab(np.array([rgb], dtype=np.uint8))[0], expected, atol=0.03)


@pytest.mark.parametrize(("word", "rgb"), [s for s in colour_samples() if np.ptp(s[1]) > 4])
def test_every_sample_has_its_own_name(word, rgb):
    assert describe_colour(filled(rgb), EVERYWHERE) == word


def test_only_what_is_under_the_mask_counts():
    image, mask = filled((60, 90, 180)), np.zeros((20, 20), dtype=bool)
    image[5:10, 5:10], mask[5:10, 5:10] = (190, 40, 40), True
    assert describe_colour(image, mask) == "red"


def test_highlights_do_not_bleach():
    image = filled((125, 75, 50))
    image[:8] = 255
    assert describe_colour(image, EVERYWHERE) == "brown"


def test_a_grey_recording_has_no_colour_even_as_jpeg():
    grey = np.random.default_rng(0).integers(0, 256, (20, 20, 1), dtype=np.uint8)
    assert describe_colour(np.repeat(grey, 3, axis=2), EVERYWHERE) is None
    stream = io.BytesIO()
    Image.fromarray(np.repeat(grey, 3, axis=2)).save(stream, "JPEG", quality=60)
    assert describe_colour(np.asarray(Image.open(stream).convert("RGB")), EVERYWHERE) is None


def test_nothing_under_an_empty_mask():
    assert describe_colour(filled((190, 40, 40)), ~EVERYWHERE) is None


def test_large_masks_are_sampled_all_over():
    image = filled((190, 40, 40), size=400)
    image[:130] = (60, 90, 180)  # less than half
    assert describe_colour(image, np.ones((400, 400), dtype=bool)) == "red"


def test_attacks_know_every_colour():
    known = {word for family in lexicon().attributes["colour"] for word in sum(family, ())}
    assert {word for word, _ in colour_samples()} <= known
