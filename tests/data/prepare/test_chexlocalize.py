import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from palpate.data import load_data
from palpate.data.prepare import CONVERTERS, open_source, prepare
from palpate.data.prepare.chexlocalize import FINDINGS

from ..conftest import noise, save

SIZE = (12, 8)
SIGHTS = {
    "patient64541_study1_view1_frontal": {"Edema": 3, "Pleural Effusion": 2},
    "patient64541_study1_view2_lateral": {"Edema": 5},
    "patient64542_study1_view1_frontal": {},
}


def runs(columns):
    """The first columns of an image; of none, what the set writes for an absent finding."""
    counts = [0, 8 * columns, 96 - 8 * columns] if columns else [96]
    return {"size": [8, 12], "counts": counts}


def write(root, split="val", sights=SIGHTS, suffix=".jpg"):
    for number, image in enumerate(sights):
        path = Path(*image.split("_", 2)).with_suffix(suffix)
        save(root / "CheXpert" / split / path, noise(SIZE, number))
    content = {
        image: {finding: runs(seen.get(finding, 0)) for finding in FINDINGS}
        for image, seen in sights.items()
    }
    (root / "CheXlocalize").mkdir(exist_ok=True)
    file = root / "CheXlocalize" / f"gt_segmentations_{split}.json"
    file.write_text(json.dumps(content))
    return file


@pytest.fixture
def root(tmp_path):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in")
    others = {f"patient6474{n}_study1_view1_frontal": {"Lung Lesion": 1} for n in (1, 2)}
    write(tmp_path / "in", "test", others)
    return tmp_path / "in"


def found(root):
    with open_source(root) as source:
        return CONVERTERS["chexlocalize"].find(source)


def test_a_mask_for_every_finding_that_is_seen(root):
    items = found(root)
    assert [
        (i.image_name, i.mask_name, i.structure, i.group) for i in items if "test" not in i.original
    ] == [
        (f"{stem}.jpg", f"{stem}_{finding}.png", finding.replace("_", " "), "patient64541")
        for stem, finding in (
            ("patient64541_study1_view1_frontal", "edema"),
            ("patient64541_study1_view1_frontal", "pleural_effusion"),
            ("patient64541_study1_view2_lateral", "edema"),
        )
    ]
    assert {item.split for item in items} == {None}
    assert items[0].facts["view"] == "frontal"
    assert [item.facts["source_split"] for item in items].count("test") == 2


def test_masks_are_those_of_the_run_lengths(root):
    with open_source(root) as source:
        item = next(i for i in CONVERTERS["chexlocalize"].find(source) if "view2" in i.image_name)
        mask = item.read_mask()
    expected = np.zeros((8, 12), dtype=bool)
    expected[:, :5] = True
    assert_array_equal(mask, expected)


def test_what_is_written_is_read_again(root, tmp_path):
    sights = {f"patient6{n}_study1_view1_frontal": {"Edema": 1} for n in range(1000, 1010)}
    write(root, "val", sights)
    made = prepare("chexlocalize", root, tmp_path / "out")
    data = load_data("chexlocalize", tmp_path / "out", split="train")
    assert {case.structure for case in data.cases} <= {"edema", "lung lesion"}
    assert len(list((made / "images").iterdir())) == 12


@pytest.mark.real_data
def test_names_are_those_of_the_published_annotations(real_root):
    files = real_root / "published-annotations/chexlocalize/anns"
    names = [e["mask_name"] for p in files.glob("*.json") for e in json.loads(p.read_text())]
    ends = Counter(name.split("_", 4)[-1] for name in names)
    ours = {finding.lower().replace(" ", "_") + ".png" for finding in FINDINGS}
    assert set(ends) == ours


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c | {"patient1_study1_view1_frontal": {"Edema": runs(1)}}, "no such image"),
        (lambda _: {"a": {}}, "a: expected a name such as patient64541_study1_view1_frontal"),
        (lambda c: {next(iter(c)): {"Fracture": runs(1)}}, r"got \['Fracture'\]"),
        (lambda c: {next(iter(c)): []}, "expected run lengths by finding"),
        (lambda _: [], "Expected an object of images"),
    ],
)
def test_what_does_not_fit_is_told(change, message, root):
    file = root / "CheXlocalize/gt_segmentations_val.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(ValueError, match=message):
        found(root)


def test_run_lengths_of_another_image_are_told(root, tmp_path):
    file = root / "CheXlocalize/gt_segmentations_val.json"
    file.write_text(file.read_text().replace("[8, 12]", "[8, 13]"))
    with pytest.raises(
        ValueError, match=r"2 of 5 images .*(.|\n)*view1_frontal, but: .* \[8, 12\] .*got \[8, 13\]"
    ):
        prepare("chexlocalize", root, tmp_path / "out")


def test_another_folder_is_none(tmp_path):
    with pytest.raises(ValueError, match=r"gt_segmentations_val\.json .* found neither"):
        found(tmp_path)
