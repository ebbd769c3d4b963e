import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from palpate.data import Augmentation, augment
from palpate.data.augment import flip, move, recolour
from palpate.randomness import generator
from palpate.text.positions import mirror_words

STRONG = Augmentation(0.5, 0.5, rotate_degrees=30.0, scale=0.3, translate=0.2, colour=0.5)


def picture(height=20, width=30):
    return torch.rand(3, height, width, generator=generator(0, "picture"))


def disc(height=60, width=100, radius=15.0):
    """Pixels within ``radius`` of the centre, as a mask."""
    y = torch.arange(height)[:, None] - (height - 1) / 2
    x = torch.arange(width) - (width - 1) / 2
    return ((x**2 + y**2) <= radius**2).unsqueeze(0)


def as_picture(mask):
    return mask.float().expand(3, -1, -1).contiguous()


@given(st.integers(0, 10**6))
def test_the_mask_moves_with_the_image(seed):
    mask = disc(radius=20)
    geometry = Augmentation(0.5, 0.5, rotate_degrees=30.0, scale=0.3, translate=0.2)
    image, moved, _ = augment(as_picture(mask), mask, "", geometry, generator(seed))
    assert ((image[:1] > 0.5) != moved).float().mean() < 0.005
    assert moved.any()


@given(st.integers(0, 10**6))
def test_stays_an_image_and_a_mask(seed):
    image, mask, prompt = augment(picture(), disc(20, 30, 6), "polyp", STRONG, generator(seed))
    assert image.shape == (3, 20, 30)
    assert mask.shape == (1, 20, 30)
    assert mask.dtype == torch.bool
    assert image.min() >= 0
    assert image.max() <= 1
    assert prompt == "polyp"


def test_scale_changes_the_area_as_often_and_as_much_up_as_down():
    """A scale of s means factors from 1 / (1 + s) to 1 + s: their logarithm is uniform about 0."""
    mask, wide = disc(80, 80, 12), Augmentation(scale=1.0)
    areas = torch.tensor(
        [
            augment(as_picture(mask), mask, "", wide, generator(0, i))[1].sum().item()
            for i in range(400)
        ]
    )
    halvings = torch.log2(areas / mask.sum()) / 2  # of the radius, in [-1, 1]
    assert halvings.min() > -1.1  # 1 + s * m would shrink the disc to nothing
    assert halvings.max() < 1.1
    assert abs(halvings.mean()) < 0.15  # five standard deviations of a uniform mean are 0.14
    assert halvings.min() < -0.9
    assert halvings.max() > 0.9


def test_nothing_switched_on_changes_nothing():
    image, mask = picture(), disc(20, 30, 6)
    text = "located in left of the image"
    same_image, same_mask, same_text = augment(image, mask, text, Augmentation(), generator(0))
    assert same_image.equal(image)
    assert same_mask.equal(mask)
    assert same_text == text


def test_leaves_what_it_got_alone():
    image, mask = picture(), disc(20, 30, 6)
    before = image.clone(), mask.clone()
    augment(image, mask, "", STRONG, generator(3))
    assert image.equal(before[0])
    assert mask.equal(before[1])


def test_the_same_generator_gives_the_same_variant():
    one, other = (augment(picture(), disc(20, 30, 6), "", STRONG, generator(5)) for _ in "ab")
    assert one[0].equal(other[0])
    assert one[1].equal(other[1])
    assert not one[0].equal(augment(picture(), disc(20, 30, 6), "", STRONG, generator(6))[0])


def test_switching_colour_on_leaves_the_geometry_as_it_was():
    mask = disc()
    plain = Augmentation(0.5, 0.5, rotate_degrees=30.0, scale=0.3, translate=0.2)
    for seed in range(5):
        with_colour = augment(as_picture(mask), mask, "", STRONG, generator(seed))[1]
        assert with_colour.equal(augment(as_picture(mask), mask, "", plain, generator(seed))[1])


@pytest.mark.parametrize(("horizontal", "vertical"), [(True, False), (False, True), (True, True)])
def test_flips_exchange_sides_exactly_and_twice_is_nothing(horizontal, vertical):
    image, mask, text = picture(), disc(20, 30, 6), "located in top left of the image"
    once = flip(image, mask, text, horizontal=horizontal, vertical=vertical)
    expected = image
    if horizontal:
        expected = expected[:, :, torch.arange(29, -1, -1)]
    if vertical:
        expected = expected[:, torch.arange(19, -1, -1)]
    assert once[0].equal(expected)
    twice = flip(*once, horizontal=horizontal, vertical=vertical)
    assert twice[0].equal(image)
    assert twice[1].equal(mask)
    assert twice[2] == text != once[2]


def test_flips_happen_as_often_as_asked():
    image, mask = picture(4, 4), disc(4, 4, 1)
    often = Augmentation(flip_horizontal=0.3)
    flipped = [
        augment(image, mask, "", often, generator(0, i))[0].equal(image.flip(-1))
        for i in range(400)
    ]
    assert abs(sum(flipped) - 120) < 46  # five standard deviations


def test_the_two_flips_happen_independently():
    image, mask = picture(4, 4), disc(4, 4, 1)
    both = Augmentation(flip_horizontal=0.5, flip_vertical=0.5)
    made = [augment(image, mask, "", both, generator(0, i))[0] for i in range(400)]
    for axes in ((), (1,), (2,), (1, 2)):
        share = sum(variant.equal(image.flip(axes)) for variant in made) / 400
        assert abs(share - 0.25) < 0.11  # five standard deviations


def test_a_quarter_turn_is_anticlockwise():
    image = picture(16, 16)
    turned, _ = move(image, disc(16, 16, 4), degrees=90.0, factor=1.0, right=0.0, down=0.0)
    assert_close(turned, torch.rot90(image, 1, dims=(1, 2)), rtol=0, atol=1e-4)


def test_a_shift_by_whole_pixels_is_exact_and_repeats_the_border():
    image, mask = picture(20, 30), disc(20, 30, 6)
    moved, outline = move(image, mask, degrees=0.0, factor=1.0, right=3 / 30, down=-2 / 20)
    assert_close(moved[:, :18, 3:], image[:, 2:, :27], rtol=0, atol=1e-4)
    assert_close(moved[:, :18, :3], image[:, 2:, :1].expand(3, 18, 3), rtol=0, atol=1e-4)
    assert outline[:, :18, 3:].equal(mask[:, 2:, :27])
    whole = torch.ones_like(mask)
    assert move(image, whole, degrees=20.0, factor=0.7, right=0.2, down=0.1)[1].all()


def test_a_long_image_is_not_sheared():
    mask = disc(60, 100, 15)
    _, turned = move(as_picture(mask), mask, degrees=37.0, factor=1.0, right=0.0, down=0.0)
    assert (turned != mask).sum() < 0.06 * mask.sum()  # a turned disc is the disc, but for its rim


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_scaling_scales_areas(factor):
    mask = disc(60, 100, 15)
    _, scaled = move(as_picture(mask), mask, degrees=0.0, factor=factor, right=0.0, down=0.0)
    assert scaled.sum().item() == pytest.approx(math.pi * (15 * factor) ** 2, rel=0.03)


def test_recolouring_does_what_its_factors_say():
    image = 0.3 + 0.3 * picture()
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    gray = (weights * image).sum(0, keepdim=True)
    assert_close(recolour(image, 1.2, 1.0, 1.0, 1.0), 1.2 * image)
    assert_close(recolour(image, 1.0, 0.5, 1.0, 1.0), gray.mean() + 0.5 * (image - gray.mean()))
    assert_close(recolour(image, 1.0, 1.0, 0.0, 1.0), gray.expand(3, -1, -1))
    assert_close(recolour(image, 1.0, 1.0, 1.0, 2.0), image**2)
    assert_close(recolour(image, 1.1, 0.5, 1.0, 1.0), 1.1 * recolour(image, 1.0, 0.5, 1.0, 1.0))
    saturated = recolour(image, 1.0, 1.0, 0.5, 1.0)
    assert_close(recolour(image, 1.0, 0.5, 0.5, 1.0), recolour(saturated, 1.0, 0.5, 1.0, 1.0))
    assert recolour(image, 1.0, 1.0, 1.0, 1.0).equal(image)


def test_gray_images_stay_gray():
    gray = picture()[:1].expand(3, -1, -1).contiguous()
    coloured = recolour(gray, 1.3, 0.7, 1.5, 0.8)
    assert_close(coloured[0], coloured[2], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"flip_horizontal": 1.5}, r"flip_horizontal in \[0, 1\], got 1\.5"),
        ({"rotate_degrees": -3.0}, r"rotate_degrees in \[0, 180\], got -3"),
        ({"colour": float("nan")}, r"colour in \[0, 1\], got nan"),
    ],
)
def test_refuses_senseless_strengths(wrong, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**wrong)


@pytest.mark.parametrize(
    ("text", "sideways", "upside_down"),
    [
        (
            "one small polyp, located in top left, right of the image",
            "one small polyp, located in top right, left of the image",
            "one small polyp, located in bottom left, right of the image",
        ),
        (
            "Two tumors at the lower right, center in the breast ultrasound image.",
            "Two tumors at the lower left, center in the breast ultrasound image.",
            "Two tumors at the upper right, center in the breast ultrasound image.",
        ),
        (
            "opacity located in bottom and left of the frontal view of a chest film",
            "opacity located in bottom and right of the frontal view of a chest film",
            "opacity located in top and left of the frontal view of a chest film",
        ),
        ("polyp on the right side", "polyp on the left side", "polyp on the right side"),
        ("polyp in the Upper-Left corner", "polyp in the Upper-Right corner",
         "polyp in the Lower-Left corner"),
        ("polyp located in center of the image",) * 3,
        ("Left ventricular cavity of the heart.",) * 3,
        ("wall of the left ventricle in the cardiac ultrasound image",) * 3,
        ("thrombus located in the left atrium",) * 3,
        ("nodule in the right lower lobe of the lung",) * 3,
        ("scar on the left side of the heart in the image",) * 3,
        ("one right ear polyp",) * 3,
        (
            "one right ear polyp, located in right of the image",
            "one right ear polyp, located in left of the image",
            "one right ear polyp, located in right of the image",
        ),
        ("bright lesion topped with a leftover",) * 3,
        ("",) * 3,
    ],
)  # fmt: skip
def test_words_for_places_follow_the_mirror_and_names_do_not(text, sideways, upside_down):
    assert mirror_words(text, horizontal=True, vertical=False) == sideways
    assert mirror_words(text, horizontal=False, vertical=True) == upside_down
    assert mirror_words(text, horizontal=False, vertical=False) == text
    assert mirror_words(sideways, horizontal=True, vertical=False) == text
