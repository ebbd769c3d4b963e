"""Phantoms keep the contract of every data set."""

import pickle
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from palpate.data import DATASETS, PHANTOMS, Augmentation, batches, collate, load_data
from palpate.data.augment import flip
from palpate.data.phantoms import SPLIT_SIZES, listening_pair, phantom_data
from palpate.data.phantoms.words import centroid, place_word
from palpate.data.prompt_policy import PromptPolicy
from palpate.data.sources.pool import pool

every_phantom = pytest.mark.parametrize("name", PHANTOMS)
SHIFTED = [(name, look) for name in PHANTOMS for look in list(PHANTOMS[name].appearances)[1:]]


def assert_same(one, other):
    assert one.case == other.case
    assert_close(one.image, other.image, rtol=0, atol=0)
    assert_close(one.mask, other.mask, rtol=0, atol=0)


@every_phantom
@pytest.mark.parametrize("size", [32, 97, 224, 352])
def test_samples_have_any_size_and_the_usual_types(name, size):
    sample = load_data(name, size=size, limit=2)[1]
    assert sample.image.shape == (3, size, size)
    assert sample.mask.shape == (1, size, size)
    assert sample.image.dtype == torch.float32
    assert sample.mask.dtype == torch.bool
    assert sample.image.min() >= 0
    assert sample.image.max() <= 1
    assert sample.image.std() > 0.05


@every_phantom
def test_the_same_scene_is_drawn_at_every_size(name):
    small, large = (load_data(name, size=size, limit=6) for size in (64, 256))
    for index in range(6):
        image, mask = large[index].image, large[index].mask.float()
        image, mask = (torch.nn.functional.avg_pool2d(field, 4) for field in (image, mask))
        assert (image - small[index].image).abs().mean() < 0.05
        assert ((mask > 0.5) ^ small[index].mask).float().mean() < 0.01


@every_phantom
def test_a_sample_depends_on_seed_split_and_index_alone(name):
    few, many = (load_data(name, size=48, limit=limit, seed=4) for limit in (5, 30))
    for index in (4, 0, 3):
        assert_same(few[index], many[index])
    assert_same(many[4], few[4])
    assert_same(pickle.loads(pickle.dumps(few))[2], few[2])
    other = load_data(name, size=48, limit=5, seed=5)
    assert not torch.equal(other[0].image, few[0].image)


@every_phantom
def test_splits_share_no_scene(name):
    data = {split: load_data(name, split=split, size=48, limit=40) for split in SPLIT_SIZES}
    groups = [{case.group for case in part.cases} for part in data.values()]
    assert sum(map(len, groups)) == len(set.union(*groups))
    first = [part[0].image for part in data.values()]
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[1], first[2])


@every_phantom
def test_cases_are_complete_and_keys_unique(name):
    cases = load_data(name, size=48).cases
    assert len(cases) == SPLIT_SIZES["test"] == len({case.key for case in cases})
    assert all(case.dataset == name and case.split == "test" for case in cases)
    assert all(case.prompt and case.prompt_level != "p0" for case in cases)
    by_group = {case.group: case.image_name for case in cases}
    assert all(by_group[case.group] == case.image_name for case in cases)
    assert len(by_group) < len(cases)  # some scenes are asked for more than one thing


def test_structures_have_their_names():
    names = {name: {case.structure for case in load_data(name).cases} for name in PHANTOMS}
    assert names == {
        "phantom-endoscopy": {"polyp"},
        "phantom-dermoscopy": {"skin lesion"},
        "phantom-echo": {"left ventricle", "myocardium", "left atrium"},
    }


def test_limit_cuts_and_more_than_a_split_can_be_asked_for():
    assert len(load_data("phantom-echo", limit=7)) == 7
    assert len(load_data("phantom-echo", split="val", limit=5000)) == SPLIT_SIZES["val"]
    assert len(phantom_data("phantom-echo", PromptPolicy(), count=450)) == 450


def test_needs_no_files(tmp_path):
    assert len(load_data("phantom-endoscopy", tmp_path / "nowhere", limit=2)) == 2
    assert set(PHANTOMS) < set(DATASETS)


@every_phantom
def test_prompt_policies_apply(name):
    every = load_data(name, prompt="all", limit=1)
    levels = [case.prompt_level for case in every.cases]
    assert levels == [f"p{number}" for number in range(len(levels))]
    assert len(levels) == (8 if name == "phantom-echo" else 10)
    assert len({case.prompt for case in every.cases}) >= len(levels) - 1  # of two, p2 says p3
    assert load_data(name, override_prompt="thing", limit=1).cases[0].prompt == "thing"
    drawn = load_data(name, limit=30)
    assert len({case.prompt_level for case in drawn.cases}) > 3
    assert drawn.with_epoch(1).cases != drawn.with_epoch(2).cases


@every_phantom
def test_batches_pools_and_augmentation_take_phantoms(name):
    data = load_data(name, size=48, limit=4)
    assert collate([data[0], data[1]]).images.shape == (2, 3, 48, 48)
    assert [len(batch.cases) for batch in batches(data, 3)] == [3, 1]
    pooled = pool([data, load_data("phantom-echo", size=48, limit=2, seed=9)])
    assert len(pooled.with_epoch(0)) == 6
    assert_same(pooled[1], data[1])
    turned = data.augmented(Augmentation(flip_horizontal=1.0)).with_epoch(0)[0]
    assert_close(turned.mask, data[0].mask.flip(-1))


@pytest.mark.parametrize("name", ["phantom-endoscopy", "phantom-dermoscopy"])
@pytest.mark.parametrize("level", ["p6", "p9"])
def test_mirrored_texts_stay_true(name, level):
    for sample in batches_of_one(load_data(name, size=64, prompt=level, limit=25)):
        _, mask, prompt = flip(
            sample.image, sample.mask, sample.case.prompt, horizontal=True, vertical=True
        )
        x, y = centroid(mask[0].numpy()) if mask.any() else (1 / 3, 1 / 3)
        if min(abs(part - edge) for part in (x, y) for edge in (1 / 3, 2 / 3)) > 0.02:
            assert f"located in the {place_word(mask[0].numpy())} of the image" in prompt


def batches_of_one(data):
    return [data[index] for index in range(len(data))]


@pytest.mark.parametrize(("name", "look"), SHIFTED)
def test_another_appearance_shows_the_same_scenes(name, look):
    usual, other = (load_data(name, size=64, limit=4, appearance=a) for a in (None, look))
    for index in range(4):
        one, shifted = usual[index], other[index]
        assert_close(one.mask, shifted.mask, rtol=0, atol=0)
        assert (one.image - shifted.image).abs().mean() > 0.03
        assert one.case.prompt_level in "p1 p2 p3 p4 p5 p6 p7 p8 p9"
        assert one.case.group == shifted.case.group
        assert one.case.image_name != shifted.case.image_name
        assert one.case.key != shifted.case.key


@every_phantom
def test_listening_pairs_differ_in_the_prompts_only(name):
    right, wrong = listening_pair(name, size=48, count=12, seed=3)
    for index in range(12):
        one, other = right[index], wrong[index]
        assert one.case.prompt != other.case.prompt
        assert one.case == replace(other.case, prompt=one.case.prompt)
        assert_close(one.image, other.image, rtol=0, atol=0)
        assert_close(one.mask, other.mask, rtol=0, atol=0)
        assert one.mask.any()
    things = 3 if name == "phantom-echo" else 2
    for index, entry in enumerate(wrong.entries):
        other = right.entries[index // things * things + (index + 1) % things]
        assert entry.image_name == other.image_name
        assert entry.prompts == other.prompts


@every_phantom
def test_every_level_but_the_empty_one_tells_the_things_of_a_scene_apart(name):
    right, wrong = listening_pair(name, size=48, count=20)
    for one, other in zip(right.entries, wrong.entries, strict=True):
        for level in one.prompts.keys() - {"p0"}:
            assert not set(one.prompts[level]) & set(other.prompts[level]), level


def test_all_is_the_scenes_of_every_split():
    some = load_data("phantom-echo", split="all", size=32, limit=2203)
    splits = [case.image_name.split("-")[0] for case in some.cases]
    assert [splits.count(split) for split in SPLIT_SIZES] == [2000, 200, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"appearance": "x-ray"}, r"appearance of phantom-echo among harmonic, .*got 'x-ray'"),
        ({"size": 16}, r"at least 32 pixels, got size=16"),
        ({"split": "dev"}, r"split among train, val, test, all, got 'dev'"),
        ({"prompt": "p8"}, r"prompt level 'p8' in phantom-echo, .*p0, p1, .*p7"),
        ({"limit": 0}, r"limit >= 1, got 0"),
    ],
)
def test_says_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        load_data("phantom-echo", **options)


def test_listening_needs_a_text_that_names_something():
    with pytest.raises(ValueError, match=r"names something, got 'p0'"):
        listening_pair("phantom-echo", prompt="p0")
    with pytest.raises(ValueError, match=r"phantom among phantom-endoscopy, .*got 'kvasir'"):
        listening_pair("kvasir")


def test_files_have_one_appearance(data_folder):
    with pytest.raises(ValueError, match=r"appearance=None for 'folder', got 'narrow-band'"):
        load_data("folder", data_folder.write().path, appearance="narrow-band")
