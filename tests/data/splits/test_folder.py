"""A folder divided anew: its files stay, its lists are whole, and what is alike stays together."""

import json
from collections import Counter

import pytest

from palpate.data import load_data
from palpate.data.integrity import Wanted, check_sets
from palpate.data.locate import locate
from palpate.data.splits.folder import Division, split_folder

from ..integrity.conftest import Defective


@pytest.fixture
def made(tmp_path):
    """Six patients with two images each, all in one list, and a field that palpate ignores."""
    folder = Defective(tmp_path / "set")
    for number in range(12):
        folder.add("train", f"{number:02}.png", group=f"p{number // 2}")
        folder.lists["train"][-1]["bbox"] = [number]
    return folder.write()


def divide(made, name="new", **division):
    found = locate(str(made.path))
    return split_folder(found.folder, found.spec, Division(**division), name=name)


def groups(made, annotations):
    """The groups of each split, as the loader sees them."""
    return {
        split: {c.group for c in load_data(
            "folder", made.path, split=split, annotations=annotations).cases}
        for split in ("train", "val", "test")
    }  # fmt: skip


def test_every_entry_is_dealt_once_and_kept_as_it_was(made):
    (written,) = divide(made, fractions=(0.5, 0.25, 0.25))
    lines = [line for path in written.glob("t*.json") for line in json.loads(path.read_text())]
    lines += json.loads((written / "val.json").read_text())
    assert sorted(line["bbox"][0] for line in lines) == list(range(12))
    by_split = groups(made, "new")
    assert sum(map(len, by_split.values())) == len(set.union(*by_split.values())) == 6
    assert json.loads((written / "about.json").read_text())["division"]["seed"] == 0


def test_folds_test_every_patient_once(made):
    written = divide(made, folds=3, name="three")
    assert [path.name for path in written] == ["fold-0", "fold-1", "fold-2"]
    tested = Counter(g for k in range(3) for g in groups(made, f"three/fold-{k}")["test"])
    assert tested == {f"p{k}": 1 for k in range(6)}


def test_what_checking_calls_a_patient_is_one_when_dividing(tmp_path):
    folder = Defective(tmp_path / "own")
    for number in range(12):
        folder.add("train" if number % 2 else "test", f"patient{number // 2}_{number}.png")
    report = folder.check()
    assert report.outcomes["leak-group"] == "error"
    divide(folder, fractions=(0.5, 0.25, 0.25))
    by_split = groups(folder, "new")
    assert sum(map(len, by_split.values())) == len(set.union(*by_split.values())) == 6


def test_copies_stay_together_whatever_their_names(made):
    """p9 has a copy of an image of p0, and p8 one of p9: none of them may be torn apart."""
    made.add("train", "copy.png", like="00.png", group="p9").add("train", "own.png", group="p9")
    made.add("train", "again.png", like="own.png", group="p8").write()
    for seed in range(4):
        divide(made, seed=seed, name=f"seed-{seed}", fractions=(0.4, 0.3, 0.3))
        for split in groups(made, f"seed-{seed}").values():
            assert {"p0", "p8", "p9"} <= split or not {"p0", "p8", "p9"} & split


def test_a_leaky_division_is_mended(made):
    made.list("test", "00.png").list("val", "01.png").write()
    (written,) = divide(made)
    for path in written.glob("*.json"):
        path.rename(made.path / "anns" / path.name)
    (report,) = check_sets([Wanted(*locate(str(made.path)))]).sets
    assert report.outcomes["leak-name"] == report.outcomes["leak-group"] == "pass"


def test_images_of_a_folder_per_split_are_found_again(tmp_path):
    """As CAMUS was published: one name in two folders, for two patients."""
    folder = Defective(tmp_path / "set")
    for split in ("train", "test"):
        for number in range(3):
            folder.add(split, f"{number}.png", within=f"{split}/")
    folder.write()
    divide(folder, fractions=(0.5, 0.25, 0.25))
    names = {
        case.image_name
        for split in ("train", "val", "test")
        for case in load_data("folder", folder.path, split=split, annotations="new").cases
    }
    assert names == {f"{split}/{k}.png" for split in ("train", "test") for k in range(3)}


def test_what_is_there_is_never_overwritten(made):
    divide(made)
    with pytest.raises(FileExistsError, match="choose another --name"):
        divide(made)


@pytest.mark.parametrize("name", ["", "..", "a/b", "../up"])
def test_lists_stay_below_anns(name, made):
    with pytest.raises(ValueError, match="one folder below anns/"):
        divide(made, name=name)


def test_a_bad_file_is_told_and_nothing_written(made):
    (made.path / "images" / "03.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"03\.png"):
        divide(made)
    assert not list((made.path / "anns").glob("*new*"))


def test_the_published_split_needs_the_published_names(made, tmp_path):
    with pytest.raises(ValueError, match="published split"):
        divide(made, published=True)
    other = Defective(tmp_path / "kvasir").add("train", "unheard-of.jpg", mask="x.png").write()
    with pytest.raises(ValueError, match=r"unheard-of\.jpg"):
        divide(other, published=True)


def test_annotations_must_be_below_anns(made):
    with pytest.raises(ValueError, match="below anns/"):
        load_data("folder", made.path, split="train", annotations="../../x")
