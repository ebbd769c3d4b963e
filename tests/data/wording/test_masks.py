import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palpate.data.wording import PUBLISHED, TRUE, Attributes, Rule, describe_mask
from palpate.text.positions import PLACES, mirror_words
from tests.data.wording.drawn import blank, ellipse

cells = st.sets(st.sampled_from(range(9)), min_size=1)


def squares(numbers, side=10, height=120, width=150):
    """A square in the middle of each of these ninths, the first one the largest."""
    mask = blank(height, width)
    for step, number in enumerate(numbers):
        row, column = divmod(number, 3)
        y, x = height * (2 * row + 1) // 6, width * (2 * column + 1) // 6
        half = (side - step // 3) // 2 + 1
        mask[y - half : y + half, x - half : x + half] = True
    return mask


@given(cells)
def test_every_part_is_counted_and_placed(numbers):
    found = describe_mask(squares(sorted(numbers)))
    assert found.number == len(numbers) == len(found.sizes)
    assert set(found.places) == {PLACES[number] for number in numbers}


@given(cells, st.booleans(), st.booleans())
def test_a_mirrored_mask_is_in_the_mirrored_places(numbers, horizontal, vertical):
    mask = squares(sorted(numbers))
    mirrored = mask[:: -1 if vertical else 1, :: -1 if horizontal else 1]
    sides = {
        mirror_words(f"in the {place}", horizontal=horizontal, vertical=vertical)[7:]
        for place in describe_mask(mask).places
    }
    assert set(describe_mask(mirrored).places) == sides


def test_the_largest_part_comes_first():
    mask = blank()
    mask[100:104, 5:9] = mask[0:60, 80:140] = mask[5:20, 5:20] = True
    found = describe_mask(mask)
    assert found.sizes == ("medium", "small", "tiny")
    assert found.places == ("top right", "top left", "bottom left")


@pytest.mark.parametrize(
    ("pixels", "word"),
    [(1, "tiny"), (9, "tiny"), (10, "small"), (799, "small"), (800, "medium"), (2999, "medium"),
     (3000, "large"), (10000, "large")],
)  # fmt: skip
def test_sizes_change_at_a_tenth_of_a_percent_eight_and_thirty_percent(pixels, word):
    mask = np.zeros(10000, dtype=bool)
    mask[:pixels] = True
    assert describe_mask(mask.reshape(100, 100)).sizes == (word,)


def test_specks_do_not_count_but_for_the_largest():
    mask = blank(300, 300)
    mask[10, 10] = True
    alone = describe_mask(mask)
    assert (alone.number, alone.sizes, alone.places) == (1, ("tiny",), ("top left",))
    mask[200, 200:208] = True  # 8 pixels are not below a ten-thousandth, which is 9
    assert describe_mask(mask).places == ("bottom right",)
    mask[201, 200:202] = True
    assert describe_mask(mask).number == 1
    mask[100, 200:209] = True
    assert describe_mask(mask).number == 2
    assert describe_mask(mask, Rule(speck=0.0)).number == 3


def test_parts_that_touch_at_a_corner_are_one():
    assert describe_mask(np.eye(40, dtype=bool)).number == 1


def test_an_empty_mask_has_nothing():
    assert describe_mask(blank()) == Attributes(0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (2, 2)])
def test_the_smallest_masks_have_words_too(shape):
    found = describe_mask(np.ones(shape, dtype=bool))
    assert (found.number, found.sizes, found.places) == (1, ("large",), ("center",))
    assert found.outline == "regular"


def test_columns_are_thirds_of_the_width_or_as_published_of_the_height():
    mask = blank(90, 180)
    mask[40:50, 80:90] = True  # its middle is at 85 of 180, which is 0.47, or 0.94 of the height
    assert describe_mask(mask).places == ("center",)
    assert describe_mask(mask, Rule(columns="height")).places == ("right",)
    assert describe_mask(mask, PUBLISHED).places == ("center",)  # as a whole in the middle ninth
    mask[:, 40:90] = True  # no ninth holds it
    assert describe_mask(mask, PUBLISHED).places == ("right",)
    assert describe_mask(mask).places == ("center",)
    assert TRUE.columns == "width"


def test_the_middle_of_the_box_decides_not_the_centre_of_mass():
    mask = blank(90, 90)
    mask[40:45, 5:35] = True
    mask[10:80, 5:12] = True  # mass on the left, box up to 35: its middle is at 20 of 90
    assert describe_mask(mask).places == ("left",)
    mask[42, 35:80] = True
    assert describe_mask(mask).places == ("center",)


def test_a_shape_is_told_only_if_all_parts_have_it():
    mask = ellipse(120, 150, 30, 30, 12, 12)
    assert describe_mask(mask | ellipse(120, 150, 110, 80, 14, 14)).shape == "round"
    mixed = describe_mask(mask | ellipse(120, 150, 110, 80, 30, 12))
    assert mixed.shape is None
    assert mixed.outline == "regular"


def test_many_parts_are_counted_but_not_outlined():
    mask = blank(200, 200)
    mask[::8, ::8] = mask[1::8, ::8] = mask[::8, 1::8] = mask[1::8, 1::8] = True
    found = describe_mask(mask)
    assert found.number == 625
    assert found.shape is None
