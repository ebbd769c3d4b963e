"""Masks as PNG files, of the size of the images."""

import numpy as np
import pytest
import torch
from PIL import Image

import palpate as pp
from palpate.data import load_pairs


class Bright:
    """Foreground where the image is bright; counts the images that it sees."""

    threshold_logit = 0.0
    text_conditioned = False

    def __init__(self):
        self.seen = 0

    def __call__(self, images, prompts):
        assert len(prompts) == len(images)
        self.seen += len(images)
        return 8 * images.mean(1, keepdim=True) - 4


class Named(Bright):
    """Reads the prompt: bright or dark."""

    text_conditioned = True
    name = "named"

    def __call__(self, images, prompts):
        signs = torch.tensor([1.0 if "bright" in text else -1.0 for text in prompts])
        return super().__call__(images, prompts) * signs[:, None, None, None]


@pytest.fixture
def images(tmp_path):
    """Three images of two sizes: `a.png`, `b.bmp`, `c.png`."""
    folder = tmp_path / "images"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for name, shape in (("a.png", (12, 20)), ("b.bmp", (9, 7)), ("c.png", (12, 20))):
        Image.fromarray(draw.integers(0, 256, (*shape, 3), np.uint8)).save(folder / name)
    return folder


def pixels(path):
    return np.asarray(Image.open(path))


def test_masks_have_the_names_and_sizes_of_the_images(images, tmp_path):
    masks = pp.predict(Bright(), images, tmp_path / "out")
    assert [path.relative_to(tmp_path).as_posix() for path in masks] == [
        "out/masks/a.png", "out/masks/b.png", "out/masks/c.png",
    ]  # fmt: skip
    for mask, image in zip(masks, sorted(images.iterdir()), strict=True):
        assert np.array_equal(pixels(mask), 255 * (pixels(image).mean(2) > 127.5))
        assert pixels(mask).dtype == np.uint8
    data = load_pairs(images, tmp_path / "out" / "masks", split="all")
    assert len(data) == 3


def test_every_prompt_has_a_folder(images, tmp_path):
    pp.predict(Named(), images, tmp_path / "out", prompts=["bright part", "Dark, the rest"])
    for name in "abc":
        bright, dark = (
            pixels(tmp_path / "out" / "masks" / folder / f"{name}.png")
            for folder in ("bright-part", "dark-the-rest")
        )
        assert np.array_equal(bright, 255 - dark)


def test_probabilities_are_plain_or_stretched_as_by_pranet(images, tmp_path):
    for kind in ("plain", "stretched"):
        pp.predict(Bright(), images, tmp_path / kind, probabilities=kind)
        found = pixels(tmp_path / kind / "probabilities" / "b.png")
        expected = 1 / (1 + np.exp(4 - 8 * pixels(images / "b.bmp").mean(2) / 255))
        if kind == "stretched":
            expected = (expected - expected.min()) / (expected.max() - expected.min() + 1e-8)
        assert np.abs(found - 255 * expected).max() <= 0.501


def test_a_size_enlarges_the_logits_or_the_finished_mask(images, tmp_path):
    """MedVLSM's nearest-exact takes the pixel below the centre of each new pixel."""
    for how in ("bilinear", "nearest"):
        pp.predict(Bright(), images, tmp_path / how, size=4, enlarge=how)
    small = np.asarray(Image.open(images / "a.png").resize((4, 4), Image.Resampling.BILINEAR))
    inside = small.mean(2) > 127.5
    rows, columns = ((np.arange(n) + 0.5) * 4 // n for n in (12, 20))
    expected = 255 * inside[np.ix_(rows.astype(int), columns.astype(int))]
    assert np.array_equal(pixels(tmp_path / "nearest" / "masks" / "a.png"), expected)
    assert not np.array_equal(pixels(tmp_path / "bilinear" / "masks" / "a.png"), expected)


def test_an_image_with_orientation_is_predicted_upright(images, tmp_path):
    stored = Image.open(images / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(images / "a.png", exif=exif)
    pp.predict(Bright(), images, tmp_path / "out")
    assert pixels(tmp_path / "out" / "masks" / "a.png").shape == (20, 12)


def test_it_resumes_and_predicts_only_what_is_missing(images, tmp_path):
    out = tmp_path / "out"
    (first,) = pp.predict(Bright(), [images / "c.png"], out)
    before = first.stat().st_mtime_ns
    model = Bright()
    pp.predict(model, images, out, batch_size=2)
    assert model.seen == 2
    assert first.stat().st_mtime_ns == before


def test_other_files_are_never_overwritten(images, tmp_path):
    out = tmp_path / "out"
    pp.predict(Named(), images, out, prompts=["bright"], probabilities="plain")
    before = {path: path.read_bytes() for path in out.rglob("*.png")}
    model = Named()
    with pytest.raises(FileExistsError, match=r"(?s)\(3\).*masks/a.png.*another model, image"):
        pp.predict(model, images, out, prompts=["dark"])
    with pytest.raises(FileExistsError, match=r"probabilities/a\.png"):
        pp.predict(model, images, out, prompts=["bright"], probabilities="stretched")
    Image.new("RGB", (9, 7)).save(images / "a.png")  # another image of the same name
    with pytest.raises(FileExistsError, match=r"(?s)\(1\).*masks/a.png"):
        pp.predict(model, images, out, prompts=["bright"])
    Image.new("L", (9, 7)).save(out / "masks" / "b.png")  # a mask that someone drew
    with pytest.raises(FileExistsError, match=r"b\.png"):
        pp.predict(model, [images / "b.bmp"], out, prompts=["bright"])
    assert model.seen == 0
    changed = out / "masks" / "b.png"
    assert all(path.read_bytes() == kept for path, kept in before.items() if path != changed)


def test_unusable_input_is_named_before_anything_is_written(images, tmp_path):
    out = tmp_path / "out"

    def refused(message, model=None, error=ValueError, where=images, **settings):
        with pytest.raises(error, match=message):
            pp.predict(model or Bright(), where, out, **settings)

    refused("says what named segments, got none", Named())
    refused("reads no prompt, got 2 prompts", prompts=["a", "b"])
    refused("differ in their words, got 'A b', 'a-b'", Named(), prompts=["A b", "a-b"])
    refused("differ in their words, got ' '", Named(), prompts=[" "])
    refused(r"write \['bright'\]", Named(), prompts="bright")
    refused("size >= 1 pixel, got 0", size=0)
    refused("Expected a size with enlarge='nearest'", enlarge="nearest")
    refused("not there", error=FileNotFoundError, where=tmp_path / "none")
    refused("none.png", error=FileNotFoundError, where=[tmp_path / "none.png"])
    boxed = Bright()
    boxed.wants_boxes = True
    refused("prompted with the box of the true mask", boxed)
    (images / "d.jpg").write_bytes(b"\xff\xd8 no picture")
    refused(r"Expected readable images \(1\):\n.*d.jpg")
    (images / "d.jpg").unlink()
    Image.new("RGB", (4, 4)).save(images / "a.jpg")
    refused(r"(?s)more than the extension.*a.jpg.*a.png.*share one mask file")
    (images / "a.jpg").unlink()
    for path in images.iterdir():
        path.unlink()
    refused("found none that Pillow reads", error=FileNotFoundError)
    assert not out.exists()


def test_a_logit_that_is_not_a_number_names_the_image(images, tmp_path):
    class Broken(Bright):
        def __call__(self, images, prompts):
            return super().__call__(images, prompts) * float("nan")

    with pytest.raises(FloatingPointError, match=r"a\.png"):
        pp.predict(Broken(), images, tmp_path / "out")
