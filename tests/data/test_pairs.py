import numpy as np
import pytest
from PIL import Image

from palpate.data import load_pairs

from .conftest import noise, rectangle, save

SIZE = (12, 8)


@pytest.fixture
def folders(tmp_path):
    """Ten images with masks of the same name, of another format."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    for number in range(10):
        save(images / f"{number}.jpg", noise(SIZE, number))
        save(masks / f"{number}.png", rectangle(SIZE))
    return images, masks


def names(*parts):
    return [case.image_name for part in parts for case in part.cases]


def test_every_pair_is_in_one_split(folders):
    parts = [load_pairs(*folders, prompt="polyp", split=s) for s in ("train", "val", "test")]
    assert [len(part) for part in parts] == [5, 2, 3]
    assert sorted(names(*parts)) == [f"{number}.jpg" for number in range(10)]


def test_patients_in_names_stay_in_one_split(tmp_path):
    for number in range(12):
        save(tmp_path / "images" / f"patient{number // 3}_{number}.png", noise(SIZE, number))
        save(tmp_path / "masks" / f"patient{number // 3}_{number}.png", rectangle(SIZE))
    folders = tmp_path / "images", tmp_path / "masks"
    parts = [load_pairs(*folders, prompt="polyp", split=s) for s in ("train", "val", "test")]
    owners = [{case.group for case in part.cases} for part in parts]
    assert [len(part) for part in parts] == [6, 3, 3]
    assert set.union(*owners) == {f"patient{n}" for n in range(4)}
    assert sum(map(len, owners)) == 4


def test_too_few_patients_to_divide_are_told(tmp_path):
    for number in range(3):
        save(tmp_path / "images" / f"case1_{number}.png", noise(SIZE, number))
        save(tmp_path / "masks" / f"case1_{number}.png", rectangle(SIZE))
    with pytest.warns(UserWarning, match=r"all images are of case1, too few .* one by one"):
        assert len(load_pairs(tmp_path / "images", tmp_path / "masks", prompt="polyp")) == 1


def test_the_seed_deals_out(folders):
    first, again, other = (load_pairs(*folders, prompt="polyp", seed=s) for s in (0, 0, 1))
    assert names(first) == names(again) != names(other)


def test_a_sample_has_its_image_its_mask_and_the_text(folders):
    data = load_pairs(*folders, prompt="a polyp", size=24)
    sample, case = data[1], data.cases[1]
    assert case.prompt == "a polyp"
    assert case.structure == "foreground"
    assert case.key == case.group.removesuffix(".jpg")
    assert sample.image.shape == (3, 24, 24)
    inked = np.asarray(rectangle((24, 24))) > 0
    np.testing.assert_array_equal(sample.mask[0].numpy(), inked)


@pytest.mark.parametrize("ending", ["_mask", "_Segmentation", "-gt"])
@pytest.mark.parametrize("together", [False, True])
def test_masks_may_have_an_ending(tmp_path, ending, together):
    images = tmp_path / "images"
    masks = images if together else tmp_path / "masks"
    for number in range(3):
        save(images / f"{number}.png", noise(SIZE))
        save(masks / f"{number}{ending}.png", rectangle(SIZE))
    parts = [load_pairs(images, masks, prompt="x", split=s) for s in ("train", "val", "test")]
    assert [len(part) for part in parts] == [1, 1, 1]
    assert sorted(names(*parts)) == ["0.png", "1.png", "2.png"]
    assert parts[0].cases[0].key.endswith(ending)


def test_images_without_mask_are_left_out_loudly(folders):
    save(folders[0] / "alone.jpg", noise(SIZE))
    with pytest.warns(UserWarning, match=r"1 of 11 images have no mask .* such as alone\.jpg"):
        data = load_pairs(*folders, prompt="x")
    assert "alone.jpg" not in names(data)


def test_other_files_do_not_matter(folders):
    (folders[0] / "notes.txt").write_text("x")
    (folders[0] / ".hidden.png").write_bytes(b"x")
    assert len(load_pairs(*folders, prompt="x", split="train")) == 5


def _two_pairs(images, masks):
    for path in (*images.iterdir(), *masks.iterdir()):
        if int(path.stem) > 1:
            path.unlink()


def _other_names(images, masks):
    for path in masks.iterdir():
        path.rename(path.with_name(f"m{path.name}"))


def _empty(images, masks):
    Image.fromarray(np.zeros(SIZE[::-1], np.uint8)).save(masks / "3.png")


def _larger(images, masks):
    rectangle((24, 16)).save(masks / "3.png")


def _other_shape(images, masks):
    rectangle((12, 12)).save(masks / "3.png")


def _broken(images, masks):
    (masks / "3.png").write_bytes(b"no image")


def _namesake(images, masks):
    save(images / "3.png", noise(SIZE))


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (_two_pairs, FileNotFoundError, r"at least 3 images .* found 2 among 2 images such as 0"),
        (_other_names, FileNotFoundError, r"found 0 among 10 .* Name each mask after its image"),
        (_empty, ValueError, r"(?s)with foreground \(1\).*3\.png: empty.*out of the folder"),
        (_larger, ValueError, r"3\.png: 24x16 pixels for an image of 12x8"),
        (_other_shape, ValueError, r"12x12 pixels in .*3\.png for 12x8"),
        (_broken, ValueError, r"readable image in .*3\.png"),
        (_namesake, ValueError, r"differ in more than the extension"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(folders, spoil, error, message):
    spoil(*folders)
    with pytest.raises(error, match=message):
        load_pairs(*folders, prompt="x")


def test_folder_prompt_and_split_are_checked(folders, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not there"):
        load_pairs(tmp_path / "nowhere", folders[1], prompt="x")
    with pytest.raises(ValueError, match="Expected a prompt"):
        load_pairs(*folders, prompt=" ")
    with pytest.raises(ValueError, match="Expected a split"):
        load_pairs(*folders, prompt="x", split="dev")
    with pytest.raises(ValueError, match="limit >= 1, got -1"):
        load_pairs(*folders, prompt="x", limit=-1)


def test_all_loads_every_pair_even_one(folders):
    assert len(load_pairs(*folders, prompt="x", split="all")) == 10
    for path in (*folders[0].iterdir(), *folders[1].iterdir()):
        if path.stem != "7":
            path.unlink()
    assert names(load_pairs(*folders, prompt="x", split="all")) == ["7.jpg"]


def test_healthy_images_are_a_structure_of_their_own(folders):
    _empty(*folders)
    data = load_pairs(*folders, split="all", healthy=True)
    assert [c.image_name for c in data.cases if c.structure == "no foreground"] == ["3.jpg"]
    assert {(case.prompt, case.prompt_level) for case in data.cases} == {("", "none")}
    lost = Image.fromarray(np.ones(SIZE[::-1], np.uint8))  # 0 and 1, blurred away by JPEG
    lost.save(folders[1] / "3.jpg")
    (folders[1] / "3.png").unlink()
    with pytest.raises(ValueError, match=r"3\.jpg: empty but for values up to 1"):
        load_pairs(*folders, split="all", healthy=True)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("masks/alone.png", "1 of 11 masks have no image"),
        ("images/7.nii", "1 of 21 files and folders are no images"),
    ],
)
def test_nothing_is_left_out_without_a_word(folders, place, message):
    (folders[0].parent / place).write_bytes((folders[1] / "7.png").read_bytes())
    with pytest.warns(UserWarning, match=message):
        assert len(load_pairs(*folders, prompt="x", split="all")) == 10
