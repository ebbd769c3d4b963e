import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torch.testing import assert_close
from torch.utils.data import DataLoader

from palpate.data import DATASETS, Augmentation, collate, load_data

from .conftest import PROMPTS, DataFolder, noise, rectangle, save


def load(folder, name="folder", **options):
    return load_data(name, folder.path, **options)


def test_gives_samples_with_what_is_known_about_them(data_folder):
    data = load(data_folder.write("val"), split="val", prompt="p3")
    assert len(data) == 2
    sample = data[1]
    assert sample.case == data.cases[1]
    assert sample.case.key == "b"
    assert (sample.case.dataset, sample.case.split) == ("folder", "val")
    assert (sample.case.image_name, sample.case.group) == ("b.png", "b.png")
    assert (sample.case.prompt, sample.case.prompt_level) == ("pink polyp", "p3")
    assert sample.case.structure == "foreground"
    assert sample.image.shape == (3, 8, 12)
    assert sample.mask.shape == (1, 8, 12)
    assert sample.mask.sum() == 4 * 4


def test_all_is_every_split_that_is_there(tmp_path):
    folder = DataFolder(tmp_path / "own").add("a.png").add("b.png").write("train")
    names = json.loads((tmp_path / "own" / "anns" / "train.json").read_text())
    for split, some in (("train", names[:1]), ("val", names[1:])):
        (tmp_path / "own" / "anns" / f"{split}.json").write_text(json.dumps(some))
    data = load(folder, split="all")
    assert [(case.key, case.split) for case in data.cases] == [("a", "all"), ("b", "all")]


def test_masks_of_one_image_are_one_group(tmp_path):
    folder = DataFolder(tmp_path / "own").add("a.png", "liver/a.png").add("a.png", "spleen/a.png")
    assert [case.group for case in load(folder.write()).cases] == ["a.png", "a.png"]


def test_resizes_to_a_square_if_asked(data_folder):
    sample = load(data_folder.write(), size=6)[0]
    assert sample.image.shape == (3, 6, 6)
    assert sample.mask.shape == (1, 6, 6)


def test_decodes_nothing_for_the_cases(data_folder):
    folder = data_folder.write()
    data = load(folder)
    for path in (folder.path / "images").iterdir():
        path.unlink()
    assert [case.key for case in data.cases] == ["a", "b"]


def test_limit_takes_the_first_entries_and_checks_only_these(data_folder):
    data = load(data_folder.add("missing.png", files=False).write(), limit=2)
    assert [case.key for case in data.cases] == ["a", "b"]


def test_limit_takes_few_of_many_patients_before_many_of_few(tmp_path):
    folder = DataFolder(tmp_path / "camus")
    for patient in ("patient0001", "patient0002", "patient0003"):
        for view in ("2CH_ED", "4CH_ED", "4CH_ES"):
            folder.add(f"{patient}_{view}.png")
    folder.write()
    few = {n: [case.key for case in load(folder, limit=n).cases] for n in (3, 4, 8, 9, 10)}
    assert few[3] == ["patient0001_2CH_ED", "patient0002_4CH_ED", "patient0003_4CH_ES"]
    assert few[4] == sorted([*few[3], "patient0001_4CH_ED"])
    assert set(few[4]) < set(few[8])
    assert few[9] == few[10] == [case.key for case in load(folder).cases]


def test_finds_the_set_below_the_root_in_the_root_and_by_the_environment(tmp_path, monkeypatch):
    folder = DataFolder(tmp_path / "kvasir_polyp").add("a.png").write()
    monkeypatch.setenv("PALPATE_DATA", str(tmp_path))
    data = [load_data("kvasir"), load_data("kvasir", tmp_path), load_data("kvasir", folder.path)]
    assert [len(d) for d in data] == [1, 1, 1]
    monkeypatch.delenv("PALPATE_DATA")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"kvasir in data/kvasir_polyp .*set PALPATE_DATA"):
        load_data("kvasir")


@pytest.mark.parametrize(
    ("name", "structure"),
    [("kvasir", "polyp"), ("isic", "skin lesion"), ("busi", "breast tumour")],
)
def test_names_the_structure_of_single_structure_sets(name, structure, data_folder):
    assert {case.structure for case in load(data_folder.write(), name).cases} == {structure}


def test_names_structures_and_patients_of_camus(tmp_path):
    folder = DataFolder(tmp_path / "camus")
    for k in (1, 2, 3):
        folder.add("patient0007_2CH_ED.png", f"mask_{k}/patient0007_2CH_ED_gt.png")
    data = load(folder.write(), "camus")
    assert [case.structure for case in data.cases] == [
        "left ventricle", "myocardium", "left atrium",
    ]  # fmt: skip
    assert {case.group for case in data.cases} == {"patient0007"}
    assert data.cases[0].key == "mask_1/patient0007_2CH_ED_gt"


def test_names_the_structure_in_a_folder_by_the_folder_of_the_mask(tmp_path):
    data = load(DataFolder(tmp_path / "own").add("a.png", "liver/a.png").write())
    assert data.cases[0].structure == "liver"


@pytest.mark.parametrize(
    ("split", "place"), [("train", "train"), ("val", "train"), ("test", "test")]
)
def test_reads_the_published_layout_of_camus(split, place, tmp_path):
    folder = DataFolder(tmp_path / "camus")
    folder.add("patient1.png", "mask_1/patient1.png", files=False).write(split)
    save(folder.path / "images" / place / "patient1.png", noise((12, 8)))
    save(folder.path / "masks" / place / "mask_1" / "patient1.png", rectangle((12, 8)))
    assert load(folder, "camus", split=split)[0].mask.any()


def test_never_takes_a_test_image_from_the_training_folder(tmp_path):
    folder = DataFolder(tmp_path / "camus")
    folder.add("patient1.png", "mask_1/patient1.png", files=False).write("test")
    save(folder.path / "images" / "train" / "patient1.png", noise((12, 8)))
    save(folder.path / "masks" / "train" / "mask_1" / "patient1.png", rectangle((12, 8)))
    with pytest.raises(FileNotFoundError, match="not there"):
        load(folder, "camus", split="test")


def test_ignores_other_fields(data_folder):
    data_folder.entries[0] |= {"bbox": [1, 2, 3, 4], "cat": 0}
    assert len(load(data_folder.write())) == 2


def test_keeps_an_entry_that_is_there_twice_once_and_says_so(data_folder):
    data_folder.entries.append(dict(data_folder.entries[0]))
    with pytest.warns(UserWarning, match=r"test\.json lists 1 entries more than once, such as 'a'"):
        data = load(data_folder.write())
    assert [case.key for case in data.cases] == ["a", "b"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 on
def test_works_in_the_worker_processes_of_a_loader(data_folder):
    data = pickle.loads(pickle.dumps(load(data_folder.write(), prompt="p1")))
    loader = DataLoader(data, batch_size=2, collate_fn=collate, num_workers=1)
    (batch,) = list(loader)
    assert batch.keys == ("a", "b")
    assert batch.prompts == ("polyp", "polyp")
    assert_close(batch.images[1], data[1].image, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("kvasr", {}, r"among kvasir, .*got 'kvasr'\. Did you mean 'kvasir'\?"),
        ("zzzz", {}, r"got 'zzzz'\.$"),
        ("folder", {"split": "dev"}, r"split among train, val, test, all, got 'dev'"),
        ("folder", {"limit": 0}, r"limit >= 1, got 0"),
        ("folder", {"size": 0}, r"size >= 1 pixel, got 0"),
        (
            "folder",
            {"prompt": "p7"},
            r"prompt level 'p7' in .*test\.json.* 2 of 2 .*p0, p1, p2, p3",
        ),
    ],
)
def test_refuses_wrong_arguments(name, options, message, data_folder):
    with pytest.raises(ValueError, match=message):
        load(data_folder.write(), name, **options)


def test_refuses_a_missing_folder_or_split(data_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.*Pass root="):
        load_data("kvasir", tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"train.*\(annotation files there: test\.json\)"):
        load(data_folder.write("test"), split="train")


def test_refuses_a_random_prompt_where_there_is_only_the_empty_one(tmp_path):
    folder = DataFolder(tmp_path / "set").add("a.png", prompts={"p0": ""}).write()
    with pytest.raises(
        ValueError, match=r"prompt level other than the empty 'p0'.*Levels there: p0"
    ):
        load(folder)
    assert load(folder, override_prompt="lesion").cases[0].prompt == "lesion"


def test_names_the_broken_line_of_the_annotations(data_folder):
    file = data_folder.path / "anns" / "test.json"
    file.write_text('[\n {"img_name": "a.png",\n  "mask_name" "a.png"}\n]')
    with pytest.raises(ValueError, match=r"test\.json, but line 3, column 15"):
        load(data_folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", "at least one entry in .*test.json"),
        (b'{"img_name": "a.png"}', "list of entries in .*got dict"),
        (b'["a.png"]', "entry 0: expected an object, got str"),
        (b'["\xe4"]', "UTF-8"),
    ],
)
def test_refuses_annotations_of_another_form(content, message, data_folder):
    (data_folder.path / "anns" / "test.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load(data_folder)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("img_name", None, "entry 1: expected a file name in 'img_name', got None"),
        ("mask_name", "", "entry 1: expected a file name in 'mask_name', got ''"),
        ("mask_name", ".", "entry 1: expected a file name"),
        ("prompts", None, "entry 1: expected 'prompts'"),
        ("prompts", {}, "entry 1: expected 'prompts'"),
        ("prompts", {"p1": []}, "entry 1: expected 'prompts'"),
        ("prompts", {"p1": 3}, "entry 1: expected 'prompts'"),
        ("prompts", {"p1": ["polyp", 3]}, "entry 1: expected 'prompts'"),
        ("img_name", "../a.png", "entry 1: img_name '../a.png' leads outside"),
        ("img_name", "x/../../a.png", "leads outside"),
        ("mask_name", "/etc/a.png", "leads outside"),
        ("mask_name", "..\\a.png", "leads outside"),
        ("mask_name", "C:\\a.png", "leads outside"),
    ],
)
def test_refuses_entries_it_cannot_use(field, value, message, data_folder):
    data_folder.entries[1][field] = value
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared literally
        load(data_folder.write())
    assert message in str(caught.value)
    assert "test.json has entries that palpate cannot use (1)" in str(caught.value)


def test_refuses_two_different_entries_of_one_key(data_folder):
    data_folder.add("c.png", "a.jpg").write()
    with pytest.raises(ValueError, match=r"the same key .*\n  a: a\.png and c\.png"):
        load(data_folder)


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("check", [True, False])
def test_refuses_missing_files(kind, check, data_folder):
    (data_folder.write().path / kind / "b.png").unlink()
    with pytest.raises(FileNotFoundError, match=rf"not there \(1\):\n .*{kind}/b\.png\nComplete"):
        load(data_folder, check=check)


def test_shows_ten_offenders_and_counts_the_rest(data_folder):
    for i in range(12):
        data_folder.add(f"lost{i}.png", files=False)
    with pytest.raises(FileNotFoundError, match=r"\(24\)") as caught:
        load(data_folder.write())
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + 10 + 1 + 1
    assert "lost0.png" in lines[1]
    assert lines[11] == "  and 14 more"


@pytest.mark.parametrize("check", [True, False])
def test_refuses_links_that_lead_outside(check, data_folder, tmp_path):
    outside = save(tmp_path / "elsewhere" / "c.png", noise((12, 8)))
    data_folder.add("c.png", files=False).write()
    save(data_folder.path / "masks" / "c.png", rectangle((12, 8)))
    (data_folder.path / "images" / "c.png").symlink_to(outside)
    with pytest.raises(ValueError, match=r"links that lead outside \(1\):\n .*images/c\.png -> "):
        load(data_folder, check=check)


def test_follows_links_that_stay_inside_and_a_linked_root(data_folder, tmp_path):
    data_folder.add("c.png", "a_copy.png", files=False).write()
    (data_folder.path / "images" / "c.png").symlink_to(data_folder.path / "images" / "a.png")
    (data_folder.path / "masks" / "a_copy.png").symlink_to(data_folder.path / "masks" / "a.png")
    (tmp_path / "link").symlink_to(data_folder.path)
    assert len(load_data("folder", tmp_path / "link")) == 3


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_finds_truncated_files_before_any_work(kind, suffix, data_folder, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as WeasyPrint leaves it
    data_folder.add(f"cut.{suffix}", size=(64, 64)).write()
    path = data_folder.path / kind / f"cut.{suffix}"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=rf"readable image in .*{kind}/cut\.{suffix}"):
        load(data_folder)
    data = load(data_folder, check=False)
    with pytest.raises(ValueError, match=rf"readable image in .*{kind}/cut\.{suffix}"):
        data[2]


def test_finds_pixel_values_it_cannot_use(data_folder):
    data_folder.add("float.tif", "float.png", files=False).write()
    save(data_folder.path / "images" / "float.tif", Image.new("F", (12, 8), 300.0))
    save(data_folder.path / "masks" / "float.png", rectangle((12, 8)))
    with pytest.raises(ValueError, match=r"images/float\.tif, but: expected floating-point"):
        load(data_folder)


def test_finds_files_that_are_no_images(data_folder):
    (data_folder.write().path / "images" / "b.png").write_text("not found")
    with pytest.raises(ValueError, match=r"\(1\):\n.*images/b\.png, but it is empty"):
        load(data_folder)


def test_refuses_a_mask_of_other_proportions(data_folder):
    save(data_folder.write().path / "masks" / "b.png", rectangle((8, 12)))
    with pytest.raises(ValueError, match=r"got 8x12 pixels in .*masks/b\.png for 12x8 in .*b\.png"):
        load(data_folder)


def test_refuses_a_label_map_as_a_mask(data_folder):
    labels = Image.new("L", (12, 8), 3)
    save(data_folder.write().path / "masks" / "b.png", labels)
    with pytest.raises(ValueError, match=r"masks/b\.png: expected .* got 3 .*label map"):
        load(data_folder)


def test_refuses_names_that_are_not_those_of_camus(data_folder):
    with pytest.raises(ValueError, match=r"as camus has them \(2\):\n .*mask_1.*got 'a\.png'"):
        load(data_folder.write(), "camus")
    data_folder.entries.clear()
    with pytest.raises(ValueError, match=r"'patient' and a number .*got 'x\.png'"):
        load(data_folder.add("x.png", "mask_1/x.png").write(), "camus")


def test_warns_where_the_turn_of_a_mask_is_a_guess(data_folder):
    data_folder.add("square.jpg", size=(8, 8)).write()
    exif = Image.Exif()
    exif[0x0112] = 6
    save(data_folder.path / "images" / "square.jpg", noise((8, 8)), exif=exif)
    save(data_folder.path / "masks" / "square.jpg", rectangle((8, 8)))
    with pytest.warns(UserWarning, match=r"1 images have an EXIF orientation .*masks/square\.jpg"):
        load(data_folder)


def test_warns_of_16_bit_images_that_use_few_of_them(data_folder):
    scan = np.arange(96, dtype=np.uint16).reshape(8, 12) * 43  # 12 bits
    save(data_folder.path / "images" / "a.png", Image.fromarray(scan))
    with pytest.warns(UserWarning, match=r"1 images of 16 bits .*a\.png \(up to 4085\); 65535"):
        load_data("folder", data_folder.write().path)


def test_does_not_warn_where_the_sizes_tell_how_to_turn_a_mask(data_folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, mask_size in (("drawn_as_stored.png", (12, 8)), ("drawn_as_shown.png", (8, 12))):
        data_folder.add(name, files=False)
        save(data_folder.path / "images" / name, noise((12, 8)), exif=exif)
        save(data_folder.path / "masks" / name, rectangle(mask_size))
    assert len(load(data_folder.write())) == 4  # warnings are errors here


def test_every_set_is_registered_under_its_own_name():
    assert {"kvasir", "isic", "camus", "busi", "folder"} <= set(DATASETS)
    assert all(spec.name == name for name, spec in DATASETS.items())


def test_the_order_of_levels_in_the_file_does_not_matter(tmp_path):
    one = DataFolder(tmp_path / "one").add("a.png", prompts=PROMPTS).write()
    backwards = dict(reversed(PROMPTS.items()))
    other = DataFolder(tmp_path / "other").add("a.png", prompts=backwards).write()
    for seed in range(8):
        assert load(one, seed=seed).cases == load(other, seed=seed).cases
    assert json.loads((other.path / "anns" / "test.json").read_text())[0]["prompts"] == PROMPTS


def test_augmentation_is_drawn_by_key_and_epoch(data_folder):
    data = load(data_folder.write(), prompt="p1").augmented(Augmentation(colour=0.5))
    first, again, later = data.with_epoch(1)[0], data.with_epoch(1)[0], data.with_epoch(2)[0]
    assert_close(first.image, again.image, rtol=0, atol=0)
    assert not torch.equal(first.image, later.image)
    assert not torch.equal(first.image, load(data_folder)[0].image)
    assert data.augmented(None)[0].image.equal(load(data_folder)[0].image)


def test_samples_are_augmented_each_in_its_own_way(tmp_path):
    folder = DataFolder(tmp_path / "set").add("a.png").add("b.png")
    save(folder.path / "images" / "b.png", noise((12, 8), seed=1))  # as a.png
    data = load(folder.write())
    assert data[0].image.equal(data[1].image)
    data = data.augmented(Augmentation(colour=0.5))
    assert not data[0].image.equal(data[1].image)


def test_the_prompt_of_an_augmented_sample_is_mirrored(tmp_path):
    prompts = {"p1": "polyp, located in left of the image"}
    folder = DataFolder(tmp_path / "set").add("a.png", prompts=prompts).write()
    data = load(folder).augmented(Augmentation(flip_horizontal=1.0))
    assert data[0].case.prompt == "polyp, located in right of the image"
    assert data[0].mask.equal(load(folder)[0].mask.flip(-1))
    assert data.cases[0].prompt == prompts["p1"]
