"""Published splits as they were published, and pools of data sets."""

from dataclasses import replace

import pytest

from palpate.data import load_data
from palpate.data.load import data_folder
from palpate.data.sources.pool import merge
from palpate.data.sources.registry import DATASETS
from palpate.data.splits import PROTOCOLS, is_pool, members, published_sets, published_split

COUNTS = {
    "kvasir": (800, 100, 100),
    "clinicdb": (490, 61, 61),
    "bkai": (800, 100, 100),
    "colondb": (20, 0, 360),
    "etis": (20, 0, 176),
    "isic": (810, 90, 379),
    "dfu": (1600, 200, 200),
    "busi": (624, 78, 78),
    "chexlocalize": (412, 136, 138),
}


@pytest.mark.parametrize("name", COUNTS)
def test_lists_are_as_long_as_published(name):
    names = published_split(name).names
    assert tuple(len(names.get(s, ())) for s in ("train", "val", "test")) == COUNTS[name]


def test_published_mistakes_are_kept_and_told():
    told = {name: published_split(name).defects for name in published_sets()}
    assert {name for name, defects in told.items() if defects} == {"isic", "bkai"}
    assert told["isic"] == (
        "train lists ISIC_0001742.jpg more than once.",
        "train and test share ISIC_0000279.jpg, ISIC_0001184.jpg, ISIC_0001385.jpg.",
    )


def test_mending_takes_shared_images_from_training():
    split = published_split("isic")
    mended = split.mended()
    assert len(mended) == 809 - 3 + 90 + 379
    assert {mended[name] for name in split.names["test"]} == {"test"}


def test_a_set_without_a_published_split():
    with pytest.raises(ValueError, match=r"kvasir, clinicdb.*got 'kvasr'.*'kvasir'"):
        published_split("kvasr")


@pytest.mark.real_data
def test_real_images_are_those_of_the_published_splits(real_cases, real_root):
    for name in ("kvasir", "isic"):
        published = published_split(name)
        for split in ("train", "val", "test"):
            there = {case.image_name for case in real_cases(name, split)}
            assert there <= set(published.names[split])
        assert data_folder(DATASETS[name], real_root).is_dir()


def test_pranet_trains_on_two_sets_and_tests_on_five():
    assert (
        members("cross-polyp", "train") == members("cross-polyp", "val") == ("kvasir", "clinicdb")
    )
    assert members("cross-polyp", "test") == ("kvasir", "clinicdb", "cvc300", "colondb", "etis")
    counts = {"kvasir": 100, "clinicdb": 62, "cvc300": 60, "colondb": 380, "etis": 196}
    PROTOCOLS["cross-polyp"].check_test(counts)
    with pytest.raises(ValueError, match=r"cvc300 380 instead of 60\. Prepare"):
        PROTOCOLS["cross-polyp"].check_test(counts | {"cvc300": 380})


def test_a_pool_names_each_set_once():
    assert is_pool("kvasir+isic")
    assert not is_pool("kvasir")
    for wrong in ("kvasir+kvasir", "kvasir+", "pooled-polyp+bkai"):
        with pytest.raises(ValueError, match="each once"):
            members(wrong)


@pytest.fixture
def root(tmp_path, data_folder_of):
    """Two data sets that share the key of an image."""
    for name in ("kvasir_polyp", "busi"):
        data_folder_of(tmp_path / name)
    return tmp_path


@pytest.fixture
def data_folder_of():
    from ..conftest import DataFolder

    def make(path):
        return DataFolder(path).add("a.png").add("b.png").write("test").write("train")

    return make


def test_a_pool_holds_all_and_every_case_says_where_it_is_from(root):
    pool = load_data("kvasir+busi", root, size=8)
    parts = [load_data(name, root, size=8) for name in ("kvasir", "busi")]
    assert pool.cases == parts[0].cases + parts[1].cases
    assert [case.dataset for case in pool.cases] == ["kvasir"] * 2 + ["busi"] * 2
    assert (pool[3].image == parts[1][1].image).all()
    assert (pool.soft_mask(2) == parts[1].soft_mask(0)).all()
    assert len({(case.dataset, case.key) for case in pool.cases}) == 4


def test_limits_hold_for_each_set_of_a_pool(root):
    cases = load_data("kvasir+busi", root, limit=1).cases
    assert [case.dataset for case in cases] == ["kvasir", "busi"]


def test_a_pool_is_mirrored_only_if_all_of_it_may_be(root):
    assert load_data("kvasir+busi", root).spec.mirrors
    assert not load_data("kvasir+phantom-echo", root, limit=1, size=32).spec.mirrors


def test_one_folder_cannot_be_two_sets(root):
    with pytest.raises(ValueError, match="a folder for each of kvasir, busi"):
        load_data("kvasir+busi", root / "busi")


def test_a_part_that_is_drawn_anew_is_so_in_a_pool(root):
    kvasir, busi = (load_data(name, root) for name in ("kvasir", "busi"))
    turned = replace(busi, redraw=lambda epoch: busi.entries[:: 1 if epoch % 2 else -1])
    pool = merge([kvasir, turned], "pool")
    keys = [[case.key for case in pool.with_epoch(epoch).cases] for epoch in (1, 2)]
    assert keys == [["a", "b", "a", "b"], ["a", "b", "b", "a"]]


def test_an_unknown_member_is_told(root):
    with pytest.raises(ValueError, match=r"got 'buzi'.*'busi'"):
        load_data("kvasir+buzi", root)


def test_a_pool_counts_from_the_end_as_a_list_does(root):
    data = load_data("kvasir+busi", root, size=8)
    for index in (-1, -len(data)):
        assert data[index].image.equal(data[index + len(data)].image)
    for index in (len(data), -len(data) - 1):
        with pytest.raises(IndexError, match="out of range"):
            data[index]
