import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from palpate.data import batches, from_samples, load_data

from .conftest import PROMPTS, noise, rectangle, save


@pytest.fixture
def folder(data_folder):
    return load_data("folder", data_folder.write().path, prompt="p3")


def mapping(**changes):
    return {"image": noise((12, 8), 1), "mask": rectangle((12, 8)), "prompts": "polyp"} | changes


def test_a_list_of_samples_is_a_data_set(folder):
    data = from_samples([*folder], size=6, name="mine", split="val")
    for one, other in zip(data, from_samples(folder, size=6), strict=True):
        assert_close(one.image, other.image)
    for sample, original in zip(data, load_resized(folder), strict=True):
        assert_close(sample.image, original.image, atol=1.01 / 255, rtol=0)
        assert torch.equal(sample.mask, original.mask)
    case, original = data.cases[0], folder.cases[0]
    assert (case.key, case.prompt, case.prompt_level) == ("a", "pink polyp", "p3")
    assert (case.dataset, case.split) == ("mine", "val")
    assert (case.group, case.structure) == (original.group, original.structure)


def load_resized(folder):
    return replace(folder, size=6)


def test_a_sample_keeps_its_pixels_exactly(folder):
    for sample, original in zip(from_samples(folder), folder, strict=True):
        assert_close(sample.image, original.image, rtol=0, atol=0)
        assert torch.equal(sample.mask, original.mask)


def forms(tmp_path):
    picture, drawing = noise((12, 8), 1), rectangle((12, 8))
    pixels, mask = np.asarray(picture), np.asarray(drawing)
    unit = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
    return {
        "pictures": (picture, drawing),
        "paths": (save(tmp_path / "a.png", picture), save(tmp_path / "b.png", drawing)),
        "texts": (str(tmp_path / "a.png"), str(tmp_path / "b.png")),
        "bytes": (pixels, mask),
        "booleans": (pixels, mask > 0),
        "zero and one": (pixels, (mask > 0).astype(np.int64)),
        "floats": (pixels.astype(np.float32) / 255, (mask > 0).astype(np.float32)),
        "tensors": (unit, torch.from_numpy(mask > 0)[None]),
        "byte tensors": ((unit * 255).round().byte(), torch.from_numpy(mask.copy())),
    }


@pytest.mark.parametrize("size", [None, 5])
def test_the_same_pixels_in_whatever_form_are_the_same_sample(size, tmp_path):
    kept = forms(tmp_path)
    image, mask = kept.pop("pictures")
    expected = from_samples([mapping(image=image, mask=mask)], size=size)[0]
    for name, (image, mask) in kept.items():
        sample = from_samples([mapping(image=image, mask=mask)], size=size)[0]
        assert torch.equal(sample.mask, expected.mask), name
        tolerance = 0 if size is None or name not in ("floats", "tensors") else 1.01 / 255
        assert_close(sample.image, expected.image, rtol=0, atol=tolerance, msg=name)


def test_grey_becomes_three_channels():
    grey = np.arange(96, dtype=np.uint8).reshape(8, 12)
    for image in (grey, torch.from_numpy(grey)[None].float() / 255, Image.fromarray(grey)):
        pixels = from_samples([mapping(image=image)])[0].image
        assert_close(pixels, torch.from_numpy(grey).expand(3, -1, -1) / 255)


def test_prompts_may_be_one_some_or_by_level():
    samples = [mapping(prompts=p) for p in ("polyp", ["polyp", "growth"], PROMPTS)]
    data = from_samples(samples, prompt="p1")
    assert data.cases[0].prompt == "polyp"
    assert data.texts[1] == {"p1": ("polyp", "growth")}
    assert data.texts[2]["p0"] == ("",)
    assert len(from_samples([mapping(prompts=PROMPTS)], prompt="all")) == 4
    with pytest.raises(ValueError, match="Expected prompt level 'p3' in samples"):
        from_samples(samples, prompt="p3")


def test_keys_groups_and_structures_are_told_or_made_up():
    data = from_samples(
        [mapping(key="x", group="patient 1", structure="polyp"), mapping()], structure="lesion"
    )
    told = [(case.key, case.group, case.structure) for case in data.cases]
    assert told == [("x", "patient 1", "polyp"), ("000001", "000001", "lesion")]


class Lazy:
    """Counts what is asked for."""

    def __init__(self):
        self.asked = []

    def __len__(self):
        return 5

    def __getitem__(self, index):
        self.asked.append(index)
        return mapping()


def test_only_what_is_needed_is_asked_for():
    lazy = Lazy()
    data = from_samples(lazy, limit=2)
    assert set(lazy.asked) == {0, 1}
    lazy.asked.clear()
    assert len(data.cases) == 2
    assert lazy.asked == []
    _ = data[1]
    assert lazy.asked == [1]


def test_such_data_reach_workers_and_batches():
    data = from_samples([mapping() for _ in range(3)], size=4)
    assert len(pickle.loads(pickle.dumps(data))) == 3
    assert [len(batch.cases) for batch in batches(data, 2, workers=1)] == [2, 1]


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (3, "sample 0: expected a Sample or a mapping, got int"),
        ({"image": 1}, "sample 0: expected mask, prompts, got only image"),
        (mapping(prompts=7), "sample 0: expected prompts to be texts"),
        (mapping(prompts={"p1": [3]}), "sample 0: expected prompts to be texts"),
        (mapping(prompts=[]), "sample 0: expected prompts to be texts"),
        (mapping(mask=rectangle((8, 12))), "mask in the proportions of its image"),
        (mapping(mask=np.arange(96).reshape(8, 12) % 4), "label map"),
        (mapping(mask=-np.ones((8, 12), dtype=int)), "values from 0 to 65535, got -1 to -1"),
        (mapping(mask=np.zeros((8, 12, 3, 2))), "expected a mask"),
        (mapping(image=np.zeros((8, 12, 2), np.uint8)), "expected an image"),
        (mapping(image=torch.full((3, 8, 12), 2.0)), r"pixels in \[0, 1\], got 2\.0 to 2\.0"),
        (mapping(image=torch.zeros(2, 8, 12)), r"expected an image \(3, h, w\)"),
        (mapping(image="not/there.png"), r"readable image in not/there\.png"),
        (mapping(mask=(np.arange(96).reshape(8, 12) % 4).astype(np.uint8)), "label map"),
    ],
)
def test_samples_that_cannot_be_used_are_told(sample, message):
    with pytest.raises(ValueError, match=message):
        from_samples([sample, mapping()])


def test_all_bad_samples_are_listed():
    with pytest.raises(ValueError, match=r"\(12\):(.|\n)*and 2 more"):
        from_samples([mapping(prompts=None)] * 12)


def test_keys_are_unique_and_something_is_there():
    with pytest.raises(ValueError, match=r"each key of samples once, got \(1\):\n  'x': 2 times"):
        from_samples([mapping(key="x"), mapping(key="x")])
    with pytest.raises(ValueError, match="at least one sample"):
        from_samples([])
    with pytest.raises(ValueError, match="a split among"):
        from_samples([mapping()], split="dev")
