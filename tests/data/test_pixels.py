"""What every way to store an image or a mask becomes."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch.testing import assert_close

from palpate.data.reading.decode import read_pair, read_soft_mask

from .conftest import noise, rectangle, save

SIZE = (12, 8)


def read_image(tmp_path, image, name="image.png", size=None, **options):
    mask = save(tmp_path / "mask.png", rectangle(image.size))
    return read_pair(save(tmp_path / name, image, **options), mask, size)[0]


def read_mask(tmp_path, mask, name="mask.png", size=None, image_size=None, **options):
    image = save(tmp_path / "image.png", noise(image_size or mask.size))
    return read_pair(image, save(tmp_path / name, mask, **options), size)[1]


def as_tensor(image):
    return torch.tensor(np.asarray(image.convert("RGB"))).permute(2, 0, 1) / 255


def gray_ramp(dtype, values):
    return Image.fromarray(np.tile(np.array(values, dtype=dtype), (4, 1)))


def test_colour_keeps_every_value(tmp_path):
    assert_close(read_image(tmp_path, noise(SIZE)), as_tensor(noise(SIZE)), rtol=0, atol=0)


def test_gray_becomes_three_equal_channels(tmp_path):
    image = read_image(tmp_path, gray_ramp(np.uint8, [0, 51, 255]))
    assert_close(image[:, 0], torch.tensor([[0.0, 0.2, 1.0]]).expand(3, -1))


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_16_bit_gray_is_scaled_by_the_range_of_its_type(name, tmp_path):
    image = read_image(tmp_path, gray_ramp(np.uint16, [0, 1, 4095, 65535]), name)
    expected = torch.tensor([0, 1, 4095, 65535]) / 65535
    assert_close(image[:, 0], expected.expand(3, -1))


def test_16_bit_gray_keeps_its_precision_when_resized(tmp_path):
    image = read_image(tmp_path, gray_ramp(np.uint16, [1000, 1040, 1000, 1040]), "d.png", size=1)
    assert_close(image.flatten(), torch.full((3,), 1020 / 65535), rtol=1e-4, atol=0)


def test_integers_beyond_16_bits_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"wide\.tif, but: .*16 bits, got 0 to 70000"):
        read_image(tmp_path, gray_ramp(np.int32, [0, 70000]), "wide.tif")


def test_floats_must_lie_between_0_and_1(tmp_path):
    image = read_image(tmp_path, gray_ramp(np.float32, [0, 0.3, 1]), "float.tif")
    assert_close(image[2, 0], torch.tensor([0, 0.3, 1]))
    for wrong in ([0, 2.0], [0, float("nan")]):
        with pytest.raises(
            ValueError, match=r"float\.tif, but: .*floating-point pixels in \[0, 1\]"
        ):
            read_image(tmp_path, gray_ramp(np.float32, wrong), "float.tif")


def test_palettes_become_their_colours(tmp_path):
    paletted = noise((4, 4)).quantize(16)
    assert paletted.mode == "P"
    assert_close(read_image(tmp_path, paletted), as_tensor(paletted), rtol=0, atol=0)


@pytest.mark.parametrize(("opacity", "expected"), [(255, 200), (0, 0), (51, 40)])
def test_transparency_is_composited_over_black(opacity, expected, tmp_path):
    image = read_image(tmp_path, Image.new("RGBA", SIZE, (200, 200, 200, opacity)))
    assert_close(image, torch.full((3, 8, 12), expected / 255), rtol=0, atol=0)


def test_transparent_gray_and_palette_are_composited_too(tmp_path):
    assert read_image(tmp_path, Image.new("LA", SIZE, (200, 0))).max() == 0
    palette = Image.new("P", SIZE, 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert read_image(tmp_path, palette, transparency=1).max() == 0


def test_cmyk_becomes_rgb(tmp_path):
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # red
    image = read_image(tmp_path, cmyk, "print.jpg", quality=100)
    assert_close(image.mean((1, 2)), torch.tensor([1.0, 0, 0]), rtol=0, atol=0.02)


def test_images_are_resized_with_antialiasing_and_masks_without_new_values(tmp_path):
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255
    path = save(tmp_path / "stripes.png", Image.fromarray(stripes))
    image, mask = read_pair(path, path, 16)
    assert_close(image, torch.full((3, 16, 16), 0.5), rtol=0, atol=0.05)
    assert mask.float().mean() in (0, 1)  # nearest: the same column of every stripe


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_turns_the_image_and_a_mask_drawn_on_the_stored_pixels(turn, tmp_path):
    stored = save(tmp_path / "stored.png", noise(SIZE), exif=orientation(turn))
    mask = save(tmp_path / "mask.png", rectangle(SIZE))
    image, outline = read_pair(stored, mask)
    upright = ImageOps.exif_transpose(Image.open(stored))
    assert_close(image, as_tensor(upright), rtol=0, atol=0)
    marked = Image.composite(Image.new("RGB", SIZE), noise(SIZE), rectangle(SIZE))
    erased = save(tmp_path / "erased.png", marked, exif=orientation(turn))
    erased_image, _ = read_pair(erased, mask)
    assert_close(erased_image, image * ~outline, rtol=0, atol=0)


def test_a_mask_drawn_on_the_displayed_image_is_left_alone(tmp_path):
    stored = save(tmp_path / "stored.png", noise(SIZE), exif=orientation(6))
    mask = save(tmp_path / "mask.png", rectangle(SIZE[::-1]))
    image, outline = read_pair(stored, mask)
    assert image.shape[1:] == outline.shape[1:] == (12, 8)
    assert_close(outline[0], torch.tensor(np.asarray(rectangle(SIZE[::-1])) > 0))
    assert_close(read_soft_mask(stored, mask), outline.float())


def test_a_mask_with_its_own_orientation_follows_that(tmp_path):
    stored = save(tmp_path / "image.png", noise(SIZE), exif=orientation(8))
    mask = save(tmp_path / "mask.png", rectangle(SIZE), exif=orientation(6))
    _, outline = read_pair(stored, mask)
    expected = ImageOps.exif_transpose(Image.open(mask))
    assert_close(outline[0], torch.tensor(np.asarray(expected) > 0))
    assert_close(read_soft_mask(stored, mask), outline.float())


def test_a_mask_of_another_size_is_brought_to_its_image(tmp_path):
    mask = read_mask(tmp_path, rectangle((24, 16)), image_size=SIZE)
    assert_close(mask[0], torch.tensor(np.asarray(rectangle(SIZE)) > 0))


@pytest.mark.parametrize(
    ("size", "fits"), [((200, 197), True), ((197, 200), True), ((200, 195), False)]
)
def test_proportions_may_differ_by_2_percent(size, fits, tmp_path):
    if fits:
        assert read_mask(tmp_path, rectangle(size), image_size=(200, 200)).shape == (1, 200, 200)
        return
    with pytest.raises(
        ValueError, match=r"200x195 pixels in .*mask\.png for 200x200 in .*image\.png"
    ):
        read_mask(tmp_path, rectangle(size), image_size=(200, 200))


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        (np.uint8, [0, 127, 128, 255], [0, 0, 1, 1]),
        (np.uint8, [0, 0, 1, 1], [0, 0, 1, 1]),
        (np.uint8, [1, 1, 1, 1], [1, 1, 1, 1]),
        (np.uint8, [0, 0, 0, 0], [0, 0, 0, 0]),
        (np.uint8, [0, 1, 0, 255], [0, 0, 0, 1]),
        (np.uint16, [0, 32767, 32768, 65535], [0, 0, 1, 1]),
        (np.uint16, [0, 0, 1, 1], [0, 0, 1, 1]),
        (np.bool_, [0, 1, 0, 1], [0, 1, 0, 1]),
    ],
)
def test_masks_are_binarised_at_half_range(dtype, values, expected, tmp_path):
    mask = read_mask(tmp_path, gray_ramp(dtype, values))
    assert mask.dtype == torch.bool
    assert mask[0, 0].tolist() == [bool(value) for value in expected]


@pytest.mark.parametrize(
    ("dtype", "values", "top"),
    [(np.uint8, [0, 2], 255), (np.uint8, [0, 127], 255), (np.uint16, [0, 255], 65535)],
)
def test_masks_that_no_threshold_fits_are_refused(dtype, values, top, tmp_path):
    message = rf"mask\.png: expected a mask with foreground at {top} .*, {values[1]} \("
    with pytest.raises(ValueError, match=message):
        read_mask(tmp_path, gray_ramp(dtype, values))


def test_the_ringing_of_jpeg_is_undone(tmp_path):
    mask = read_mask(tmp_path, rectangle((52, 52)), "mask.jpg", quality=60)
    stored = np.asarray(Image.open(tmp_path / "mask.jpg"))
    assert ((stored > 0) & (stored < 255)).any()
    assert_close(mask[0], torch.tensor(np.asarray(rectangle((52, 52))) > 0))


@pytest.mark.parametrize("value", [1, 5])
def test_noise_of_an_empty_jpeg_mask_is_background(value, tmp_path):
    assert not read_mask(tmp_path, Image.new("L", (16, 16), value), "mask.jpg").any()


def test_masks_in_colour_count_by_luminance(tmp_path):
    drawing = Image.new("RGB", (3, 1), (255, 255, 255))
    drawing.putpixel((0, 0), (20, 20, 40))  # luminance 22; a colour would not be ground
    drawing.putpixel((1, 0), (255, 200, 0))  # luminance 194
    assert read_mask(tmp_path, drawing).flatten().tolist() == [False, True, True]


def test_a_mask_that_is_in_the_transparency_alone_is_not_read_as_empty(tmp_path):
    black = Image.new("L", SIZE)
    drawn = Image.merge("RGBA", [black, black, black, rectangle(SIZE)])
    with pytest.raises(ValueError, match=r"black whose shape is in the transparency alone"):
        read_mask(tmp_path, drawn)
    empty = Image.merge("RGBA", [black, black, black, Image.new("L", SIZE, 255)])
    assert not read_mask(tmp_path, empty).any()


def test_masks_drawn_on_transparent_ground_keep_their_outline(tmp_path):
    drawing = Image.new("RGBA", (2, 1), (255, 255, 255, 255))
    drawing.putpixel((0, 0), (255, 255, 255, 0))
    assert read_mask(tmp_path, drawing).flatten().tolist() == [False, True]


@pytest.mark.parametrize(
    ("name", "value", "soft"),
    [
        ("mask.png", 1, 1.0),
        ("mask.png", 255, 1.0),
        ("mask.jpg", 1, 1 / 255),
        ("mask.jpg", 255, 1.0),
    ],
)
def test_a_one_is_foreground_in_a_lossless_file_and_noise_in_a_lossy_one(
    name, value, soft, tmp_path
):
    picture = save(tmp_path / "image.png", noise((16, 16)))
    mask = Image.fromarray(np.full((16, 16), value, dtype=np.uint8))
    values = read_soft_mask(picture, save(tmp_path / name, mask))
    assert_close(values, torch.full((1, 16, 16), soft))
