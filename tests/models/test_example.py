"""Visual prompts: what the model is shown, and that it answers as Hugging Face's does."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from palpate.models import load_model
from palpate.models.clipseg.visual_prompt import HIGHLIGHTS, blurred, highlighted, marked

from . import tiny

MEAN = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)


@pytest.fixture
def image():
    return torch.rand(1, 3, 40, 50, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mask():
    mask = torch.zeros(1, 1, 40, 50, dtype=torch.bool)
    mask[:, :, 5:15, 20:40] = True
    return mask


@pytest.mark.reference
def test_examples_without_mask_equal_hugging_faces(hf, clipseg, pixels):
    model = load_model(clipseg)
    example = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    model.show(example)
    shown = model.to_network(example).expand(2, -1, -1, -1)
    with torch.no_grad():
        theirs = hf(pixel_values=model.to_network(pixels), conditional_pixel_values=shown)
        tiny.same(model(pixels), theirs.logits.unsqueeze(1))
        tiny.same(model(pixels, ["a polyp", "skin"]), theirs.logits.unsqueeze(1))
    assert not model.text_conditioned


def test_the_object_stays_and_the_background_fades(image, mask):
    seen = highlighted(image, mask, MEAN)
    # 10 x 20 pixels with a tenth of margin on each side, squared.
    assert seen.shape == (1, 3, 24, 24)
    bar = (24 - 12) // 2
    torch.testing.assert_close(seen[:, :, bar + 1 : bar + 11, 2:22], image[:, :, 5:15, 20:40])
    torch.testing.assert_close(seen[:, :, :bar], MEAN.expand(1, 3, bar, 24))
    faint = MEAN + 0.1 * (blurred(image, 3.0) - MEAN)
    torch.testing.assert_close(seen[:, :, bar, :], faint[:, :, 4, 18:42])


def test_the_blur_is_gaussian(image):
    ours = blurred(image, 2.0)[0].numpy()
    theirs = gaussian_filter(image[0].numpy(), sigma=(0, 2, 2), mode="mirror", radius=(0, 7, 7))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_margins_end_at_the_edge(image):
    mask = torch.ones(1, 1, 40, 50, dtype=torch.bool)
    seen = highlighted(image, mask, MEAN)
    assert seen.shape == (1, 3, 50, 50)
    torch.testing.assert_close(seen[:, :, 5:45], image)


def test_what_makes_no_example_is_refused(image, mask, clipseg, unchecked):
    with pytest.raises(ValueError, match="got an empty one"):
        highlighted(image, torch.zeros_like(mask), MEAN)
    with pytest.raises(ValueError, match="one image and its mask at the same size"):
        highlighted(image, mask[:, :, 1:], MEAN)
    with pytest.raises(ValueError, match="Expected one example, got 2 images"):
        load_model(clipseg).show(image.expand(2, -1, -1, -1))
    with pytest.raises(ValueError, match=r"more than 7 pixels' side, got \(7, 9\)"):
        blurred(image[:, :, :7, :9], 3.0)


@pytest.fixture
def files(tmp_path, image, mask):
    drawn = (image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(drawn).save(tmp_path / "image.png")
    Image.fromarray(mask[0, 0].numpy().astype(np.uint8) * 255).save(tmp_path / "mask.png")
    return {"example": tmp_path / "image.png", "mask": tmp_path / "mask.png"}


def test_options_name_the_files(files, clipseg, pixels, mask):
    model, by_hand = load_model(clipseg, options=files), load_model(clipseg)
    drawn = torch.from_numpy(np.asarray(Image.open(files["example"])) / np.float32(255))
    by_hand.show(drawn.permute(2, 0, 1)[None], mask)
    with torch.no_grad():
        torch.testing.assert_close(model(pixels, ["", ""]), by_hand(pixels))
    with pytest.raises(ValueError, match=r"example and mask together.*got mask alone"):
        load_model(clipseg, options={"mask": files["mask"]})
    with pytest.raises(FileNotFoundError, match=r"no file .*gone.png, which an option names"):
        load_model(clipseg, options=files | {"mask": "gone.png"})


def test_a_checkpoint_remembers_its_example(files, clipseg, pixels, tmp_path):
    from palpate.models import save_checkpoint

    model = load_model(clipseg, "dense-v", width=2, options=files)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.requires_grad and parameter.add_(0.1)
    save_checkpoint(model, tmp_path / "checkpoint")
    with torch.no_grad():
        torch.testing.assert_close(
            load_model(tmp_path / "checkpoint")(pixels), model(pixels), rtol=0, atol=0
        )


def test_the_example_takes_part_in_training(files, clipseg, pixels):
    model = load_model(clipseg, "dense-v", options=files)
    shown = model.shown(model.example)
    assert shown.requires_grad
    assert model(pixels).requires_grad


STD = torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)


def published(mode, x, seg, blurry):
    """The ways of CLIPSeg's authors on normalised images, each as they define it."""
    return {
        "image_only": x,
        "overlay": x * seg,
        "highlight": x * seg * 0.85 + 0.15 * x,
        "highlight2": (x / 2 + 0.1) * seg + 0.3 * (x / 2),
        "blur_highlight": x * seg + 0.5 * blurry(1) * (1 - seg) - 0.01,
        "blur3_highlight": x * seg + 0.5 * blurry(3) * (1 - seg) - 0.01,
        "blur3_highlight01": x * seg + 0.1 * blurry(3) * (1 - seg) - 0.01,
        "shape": seg.expand_as(x),
    }[mode]


@pytest.mark.parametrize("mode", [m for m in HIGHLIGHTS if "crop" not in m and m != "outline"])
def test_objects_are_highlighted_as_by_the_authors(mode, image, mask):
    x, seg = (image - MEAN) / STD, mask.float()
    expected = published(mode, x, seg, lambda deviation: blurred(x, float(deviation)))
    found = (marked(image, mask, HIGHLIGHTS[mode], MEAN, STD) - MEAN) / STD
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_crops_keep_the_background_or_blur_it_away(image, mask):
    best = marked(image, mask, HIGHLIGHTS["crop_blur_highlight"], MEAN, STD)
    assert best.equal(highlighted(image, mask, MEAN))
    plain = marked(image, mask, HIGHLIGHTS["crop"], MEAN, STD)
    expected = highlighted(image, mask, MEAN, background=1.0, blur=1.0)
    torch.testing.assert_close(plain, expected, atol=1e-6, rtol=0)


def test_an_outline_is_red_and_five_pixels_wide(image, mask):
    mask[:, :, 8:12, 25:35] = False  # a hole, which gets no outline
    found = marked(image, mask, HIGHLIGHTS["outline"], MEAN, STD)
    line = (found == torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)).all(1)[0]
    assert line[10, 18:23].all()
    assert not line[10, :18].any()
    assert not line[10, 23:37].any()
    torch.testing.assert_close(found[:, :, ~line], image[:, :, ~line])


def test_the_highlight_is_an_option(files, clipseg, pixels):
    model = load_model(clipseg, options=files | {"highlight": "outline"})
    assert not model(pixels).equal(load_model(clipseg, options=files)(pixels))
    with pytest.raises(ValueError, match=r"got 'outlin'\. Did you mean 'outline'"):
        load_model(clipseg, options=files | {"highlight": "outlin"})
    with pytest.raises(ValueError, match="got highlight alone"):
        load_model(clipseg, options={"highlight": "crop"})
