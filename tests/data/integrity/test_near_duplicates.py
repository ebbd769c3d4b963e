"""The search for pairs agrees with counting bits one by one."""

import numpy as np
import pytest
from PIL import Image

from palpate.data.integrity.near_duplicates import (
    BITS,
    all_orientations,
    content_digest,
    low_frequencies,
    near_pairs,
    signs,
)

TURNS = {None, *Image.Transpose}


@pytest.fixture
def low():
    """Coefficients of images that differ in ever more bits."""
    rng = np.random.default_rng(0)
    low = rng.normal(size=(40, 16, 16)).astype(np.float32)
    for number in range(1, 20):
        flipped = rng.permutation(np.arange(1, 256))[: 2 * number]
        low[number] = low[0]
        low[number].flat[flipped] *= -1
    return low


def test_pairs_are_those_that_counting_finds(low, monkeypatch):
    monkeypatch.setattr("palpate.data.integrity.near_duplicates._BLOCK", 7)
    bits = signs(low) > 0
    counted = {
        (i, j): int((bits[i] != bits[j]).sum())
        for i in range(40)
        for j in range(i + 1, 40)
        if (bits[i] != bits[j]).sum() <= 24
    }
    found = near_pairs(low, 24, turned=False)
    assert {(pair.first, pair.second): pair.distance for pair in found} == counted
    assert len(counted) > 12


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_an_orientation_of_the_coefficients_is_that_of_the_image(turn):
    rng = np.random.default_rng(3)
    image = Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8))
    turned = low_frequencies(image if turn is None else image.transpose(turn))
    own = low_frequencies(image)[None]
    distances = [
        ((signs(other) != signs(turned[None])).sum(), upright)
        for upright, other in all_orientations(own)
    ]
    best, upright = min(distances)
    assert best <= 2  # low_frequencies that are nearly 0 may round to either side
    assert upright == (turn is None)
    assert sorted(distances)[1][0] > 60


def test_strangers_are_half_the_bits_apart(low):
    assert abs((signs(low)[21] != signs(low)[22]).mean() - 0.5) < 0.15
    assert signs(low).shape == (40, BITS)


def test_digests_tell_shape_and_type():
    flat = np.zeros(12, np.uint8)
    arrays = [flat, flat.reshape(3, 4), flat.reshape(4, 3), flat.astype(np.int8), flat + 1]
    assert len({content_digest(array) for array in arrays}) == 5
    assert content_digest(flat) == content_digest(np.zeros(24, np.uint8)[::2])
