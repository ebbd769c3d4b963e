"""The real images named by PALPATE_DATA, as palpate reads them."""

import re

import pytest
import torch

from palpate.data import Augmentation, load_data
from palpate.text.positions import mirror_words

pytestmark = pytest.mark.real_data

COUNTS = {
    "kvasir": {"train": 798, "val": 100, "test": 100},
    "isic": {"train": 672, "val": 74, "test": 305},
    "camus": {"train": 960, "val": 240, "test": 600},
    "busi": {"train": 120, "val": 65, "test": 65},
}
every_split = pytest.mark.parametrize(
    ("name", "split"), [(name, split) for name in COUNTS for split in COUNTS[name]]
)


@every_split
def test_every_split_is_complete_and_keys_are_unique(name, split, real_cases):
    cases = real_cases(name, split)
    assert len(cases) == COUNTS[name][split]
    assert len({case.key for case in cases}) == len(cases)
    assert all(case.prompt and case.prompt_level != "p0" for case in cases)


@pytest.mark.slow
@every_split
def test_every_file_of_every_split_is_sound(name, split, real_root):
    assert len(load_data(name, real_root, split=split, check=True)) == COUNTS[name][split]


@pytest.mark.parametrize("name", COUNTS)
def test_samples_are_what_the_package_expects(name, real_root):
    data = load_data(name, real_root, limit=20, check=True)
    for index in range(0, len(data), 4):
        sample = data[index]
        assert sample.image.dtype == torch.float32
        assert sample.image.min() >= 0
        assert sample.image.max() <= 1
        assert sample.image.std() > 0.02
        assert sample.mask.shape[1:] == sample.image.shape[1:]
        assert 0 < sample.mask.float().mean() < 0.98


def test_splits_share_no_image_and_camus_no_patient(real_cases):
    for name in COUNTS:
        groups = [{case.group for case in real_cases(name, split)} for split in COUNTS[name]]
        assert sum(map(len, groups)) == len(set.union(*groups)), name


def test_camus_has_three_structures_of_fifty_patients(real_cases):
    cases = real_cases("camus", "test")
    assert len({case.group for case in cases}) == 50
    structures = [case.structure for case in cases]
    for structure in ("left ventricle", "myocardium", "left atrium"):
        assert structures.count(structure) == 200


def test_jpeg_masks_of_kvasir_have_clean_outlines(real_root):
    """Compression noise, were it kept, would sprinkle the background with foreground."""
    data = load_data("kvasir", real_root, size=224, check=False)
    for index in range(0, 100, 25):
        mask = data[index].mask.float()[None]
        neighbours = torch.nn.functional.avg_pool2d(mask, 3, 1, 1) * 9
        alone = (mask == 1) & (neighbours < 1.5)
        assert not alone.any(), data.cases[index].key


def test_random_prompts_use_every_level(real_cases):
    assert {case.prompt_level for case in real_cases("kvasir", "train")} == {
        f"p{i}" for i in range(1, 10)
    }


def test_mirroring_rewrites_every_place_and_no_name(real_root):
    sided = 0
    for name, split in (
        ("kvasir", "train"),
        ("isic", "train"),
        ("busi", "train"),
        ("camus", "test"),
    ):
        for case in load_data(
            name, real_root, split=split, prompt="all", limit=40, check=False
        ).cases:
            mirrored = mirror_words(case.prompt, horizontal=True, vertical=False)
            sides, swapped = (
                re.findall(r"\b(left|right)\b", text) for text in (case.prompt, mirrored)
            )
            if name == "camus":
                assert mirrored == case.prompt
            else:
                assert swapped == [{"left": "right", "right": "left"}[side] for side in sides]
                sided += len(sides)
    assert sided > 100


def test_augmented_real_samples_keep_their_lesion(real_root):
    mild = Augmentation(0.5, 0.5, rotate_degrees=10.0, scale=0.1, translate=0.05, colour=0.2)
    data = load_data("busi", real_root, size=128, check=False).augmented(mild).with_epoch(1)
    plain = data.augmented(None)
    for index in range(0, len(data), 16):
        before, after = plain[index].mask.sum().item(), data[index].mask.sum().item()
        assert 0.6 * before < after < 1.5 * before
