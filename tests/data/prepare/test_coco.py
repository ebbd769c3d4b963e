import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from palpate.data import load_data
from palpate.data.prepare import CONVERTERS, open_source, prepare

from ..conftest import noise, save

SIZE = (12, 8)  # width, height
BOX = [2, 1, 6, 1, 6, 5, 2, 5]  # x, y of the corners
CATEGORIES = [{"id": 1, "name": "liver tumour"}, {"id": 7, "name": "kidney"}]


def box():
    mask = np.zeros((8, 12), dtype=bool)
    mask[1:5, 2:6] = True
    return mask


def image(number, name, **changes):
    return {"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]} | changes


def thing(number, image_id, segmentation, category=1, **more):
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category,
        "segmentation": segmentation,
    } | more


def write(path, images, annotations, categories=CATEGORIES, pictures=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    for entry in images:
        name = entry["file_name"]
        save((pictures or path.parent) / name, noise(SIZE, seed=len(str(entry))))


RUNS = {"size": [8, 12], "counts": [0, 8, 88]}  # the first column


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "set"
    annotations = [
        thing(1, 5, [BOX]),
        thing(2, 5, RUNS, iscrowd=1),
        thing(3, 5, [BOX], category=7),
        thing(4, 6, {"size": [8, 12], "counts": [0, 96]}, category=7),
    ]
    write(
        root / "annotations.json",
        [image(5, "a.png"), image(6, "b.png"), image(8, "c.png")],
        annotations,
        pictures=root / "images",
    )
    return root


def found(root, **options):
    with open_source(root) as source:
        return CONVERTERS["coco"].find(source, **options)


def masks(root, **options):
    with open_source(root) as source:
        items = CONVERTERS["coco"].find(source, **options)
        return {item.mask_name: item.read_mask() for item in items}


def test_objects_of_a_category_are_one_mask_crowds_included(folder):
    first = box()
    first[:, 0] = True
    ours = masks(folder)
    assert sorted(ours) == ["kidney/a.png", "kidney/b.png", "liver tumour/a.png"]
    assert_array_equal(ours["liver tumour/a.png"], first)
    assert_array_equal(ours["kidney/a.png"], box())
    assert ours["kidney/b.png"].all()


def test_images_without_objects_are_kept_if_asked(folder):
    ours = masks(folder, empty="yes")
    assert len(ours) == 6
    assert not ours["kidney/c.png"].any()


def test_what_is_written_is_read_again(folder, tmp_path):
    made = prepare("coco", folder, tmp_path / "out", options={"empty": "yes"})
    entries = [e for path in (made / "anns").iterdir() for e in json.loads(path.read_text())]
    structures = {entry["mask_name"]: entry["structure"] for entry in entries}
    assert structures["liver tumour/a.png"] == "liver tumour"
    assert (made / "images/a.png").read_bytes() == (folder / "images/a.png").read_bytes()
    samples = [
        s for p in (made / "anns").iterdir() for s in load_data("folder", made, split=p.stem)
    ]
    assert {s.case.structure for s in samples} == {"liver tumour", "kidney"}


def test_several_files_tell_their_splits_and_namesakes_stay_apart(tmp_path):
    for split in ("train", "valid", "test"):
        write(
            tmp_path / split / "_annotations.coco.json", [image(1, "a.png")], [thing(1, 1, [BOX])]
        )
    items = found(tmp_path)
    assert {(item.split, item.image_name, item.original) for item in items} == {
        ("train", "train_a.png", "train/a.png"),
        ("val", "val_a.png", "valid/a.png"),
        ("test", "test_a.png", "test/a.png"),
    }


def test_official_layout_of_instances(tmp_path):
    for split in ("train", "val"):
        file = tmp_path / f"annotations/instances_{split}2017.json"
        pictures = tmp_path / f"{split}2017"
        write(file, [image(1, f"{split}.png")], [thing(1, 1, [BOX])], pictures=pictures)
    (tmp_path / "annotations/captions_val2017.json").write_text('{"info": {}, "captions": []}')
    assert {(i.split, i.original) for i in found(tmp_path)} == {
        ("train", "train2017/train.png"),
        ("val", "val2017/val.png"),
    }


def test_a_split_in_a_single_name_means_nothing(tmp_path):
    write(tmp_path / "instances_train.json", [image(1, "a.png")], [thing(1, 1, [BOX])])
    assert [item.split for item in found(tmp_path)] == [None]


def test_patients_by_a_pattern(tmp_path):
    write(tmp_path / "a.json", [image(1, "p07_1.png")], [thing(1, 1, [BOX])])
    assert [item.group for item in found(tmp_path)] == ["p07_1"]
    assert [item.group for item in found(tmp_path, group=r"^(p\d+)_")] == ["p07"]
    with pytest.raises(ValueError, match="to match the name 'p07_1'"):
        found(tmp_path, group="q")


@pytest.mark.parametrize("as_displayed", [False, True])
def test_masks_turn_with_the_orientation_of_the_image(as_displayed, tmp_path):
    """Orientation 6: what is stored wide is displayed high."""
    exif = Image.Exif()
    exif[0x0112] = 6
    (width, height) = SIZE[::-1] if as_displayed else SIZE
    entry = image(1, "a.jpg", width=width, height=height)
    write(tmp_path / "a.json", [entry], [thing(1, 1, [[0, 0, 3, 0, 3, 2, 0, 2]])])
    save(tmp_path / "a.jpg", noise(SIZE), exif=exif)
    with open_source(tmp_path) as source:
        (item,) = CONVERTERS["coco"].find(source)
        assert item.read_image().shape == (12, 8, 3)
        mask = item.read_mask()
    expected = np.zeros((12, 8), dtype=bool)
    if as_displayed:
        expected[:2, :3] = True
    else:
        expected[:3, -2:] = True
    assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("images", "annotations", "message"),
    [
        (
            [image(1, "a.png")],
            [thing(1, 1, [BOX], category=9)],
            "annotation 1: image 1, category 9",
        ),
        ([image(1, "a.png")], [thing(3, 2, [BOX])], "annotation 3: image 2, category 1"),
        ([image(1, "a.png"), image(1, "b.png")], [], "image: ids are missing or not unique"),
        ([image([1], "a.png")], [], "image: ids are missing or not unique"),
        ([image(1, "a.png")], [thing(1, [1], [BOX])], "annotation 1: image None, category 1"),
        ([image(1, "a.png")], [thing(1, 1, [])], r"'a\.png': expected a segmentation .* a\n? ?box"),
        ([image(1, "a.png", width=None)], [thing(1, 1, [BOX])], "expected a width and a height"),
    ],
)
def test_annotations_that_do_not_fit_are_told(images, annotations, message, tmp_path):
    write(tmp_path / "a.json", images, annotations)
    with pytest.raises(ValueError, match=message):
        found(tmp_path)


def test_missing_categories_and_images_are_told(tmp_path):
    write(tmp_path / "a.json", [image(1, "a.png")], [thing(1, 1, [BOX])], categories=[{"id": 1}])
    with pytest.raises(ValueError, match="category 1: no name"):
        found(tmp_path)
    write(tmp_path / "a.json", [image(1, "a.png")], [thing(1, 1, [BOX])], categories=None)
    with pytest.raises(ValueError, match=r"a list of categories in .*a\.json, got None"):
        found(tmp_path)
    write(tmp_path / "a.json", [image(1, "a.png")], [thing(1, 1, [BOX])])
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match=r"'a\.png': there is no such image"):
        found(tmp_path)


def test_names_that_lead_outside_find_nothing(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"")
    write(tmp_path / "set" / "a.json", [image(1, "a.png")], [thing(1, 1, [BOX])])
    content = (tmp_path / "set" / "a.json").read_text().replace("a.png", "../secret.png")
    (tmp_path / "set" / "a.json").write_text(content)
    with pytest.raises(ValueError, match="there is no such image"):
        found(tmp_path / "set")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"size": [8, 12], "counts": [5]}, "add up to 8 x 12 pixels, got 5"),
        ({"size": [12, 8], "counts": [96]}, r"run lengths for \[8, 12\]"),
        ([[1, 2, 3]], "three corners or more"),
    ],
)
def test_broken_masks_spoil_only_their_image(part, message, tmp_path):
    names = [f"{letter}.png" for letter in "abcd"]
    images = [image(n, name) for n, name in enumerate(names)]
    things = [thing(n, n, [BOX]) for n in range(3)] + [thing(9, 3, part)]
    write(tmp_path / "in" / "a.json", images, things)
    with pytest.raises(ValueError, match=rf"3 of 4 images are prepared(.|\n)*d\.png.*{message}"):
        prepare("coco", tmp_path / "in", tmp_path / "out")


def test_annotations_of_another_size_are_refused(tmp_path):
    write(tmp_path / "a.json", [image(1, "a.png", width=24, height=16)], [thing(1, 1, [BOX])])
    with open_source(tmp_path) as source:
        (item,) = CONVERTERS["coco"].find(source)
        with pytest.raises(ValueError, match=r"of an image of 12x8 pixels, .* got 24x16"):
            item.read_mask()


def test_no_json_of_coco_is_told(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(ValueError, match="JSON file with images, annotations, categories"):
        found(tmp_path)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"Expected JSON in .*a\.json"):
        found(tmp_path)
