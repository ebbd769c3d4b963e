"""What every converter owes, and what is peculiar to each, on downloads in the official layout."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from palpate.data import DATASETS, load_data
from palpate.data.prepare import CONVERTERS, looks_like, open_source, prepare
from palpate.data.sources.cards import CARDS

from . import official
from .official import KVASIR, as_tar, as_zip, outline, picture, save

# Set, download, and how many images each split has; dealt splits by their total.
LAYOUTS = {
    "kvasir": ("kvasir", official.kvasir, 3),
    "clinicdb as published": ("clinicdb", official.clinicdb_published, 4),
    "clinicdb on Kaggle": ("clinicdb", official.clinicdb_kaggle, 12),
    "colondb": ("colondb", official.colondb, {"test": 3}),
    "cvc300": ("cvc300", official.cvc300, {"test": 2}),
    "etis": ("etis", official.etis, {"test": 3}),
    "colondb of PraNet": ("colondb", official.pranet, {"test": 2}),
    "etis of PraNet": ("etis", official.pranet, {"test": 2}),
    "cvc300 of PraNet": ("cvc300", official.pranet, {"test": 2}),
    "pranet": ("pranet", official.pranet, {"train": 2, "val": 1, "test": 10}),
    "bkai": ("bkai", official.bkai, 3),
    "isic": ("isic", official.isic2016, {"train": 11, "val": 1, "test": 2}),
    "isic2017": ("isic2017", official.isic2017, {"train": 1, "val": 1, "test": 1}),
    "isic2018": ("isic2018", official.isic2018, {"train": 1, "val": 1, "test": 1}),
    "dfu": ("dfu", official.dfu, 4),
    "busi": ("busi", official.busi, 4),
}
every_layout = pytest.mark.parametrize(("name", "build", "counts"), LAYOUTS.values(), ids=LAYOUTS)


@every_layout
def test_what_is_prepared_is_loaded_and_is_the_source(name, build, counts, tmp_path):
    source = tmp_path / "down load é"
    build(source)
    folder = prepare(name, source, tmp_path / "out", workers=1)
    assert folder == tmp_path / "out" / DATASETS[name].folder
    splits = sorted(path.stem for path in (folder / "anns").iterdir())
    loaded = {split: load_data(name, tmp_path / "out", split=split) for split in splits}
    sizes = {split: len(data) for split, data in loaded.items()}
    if isinstance(counts, int):
        assert sum(sizes.values()) == counts
        assert set(sizes) == {"train", "val", "test"}
    else:
        assert sizes == counts
    for data in loaded.values():
        for sample in data:
            assert sample.image.shape[1:] == sample.mask.shape[1:]
            assert sample.case.structure == CARDS[name].target
            assert sample.case.prompt
    originals = {path.read_bytes() for path in source.rglob("*") if path.is_file()}
    for path in (folder / "images").rglob("*.*"):
        assert path.read_bytes() in originals  # not encoded anew
    for path in (folder / "masks").rglob("*.*"):
        assert path.suffix == ".png"
        with Image.open(path) as mask:
            assert mask.mode == "L"
            assert set(np.unique(np.asarray(mask))) <= {0, 255}


@every_layout
def test_a_page_in_place_of_an_image_is_named_and_the_others_are_done(
    name, build, counts, tmp_path
):
    build(tmp_path / "source")
    with open_source(tmp_path / "source") as source:
        item = CONVERTERS[name].find(source)[0]
    (tmp_path / "source" / item.members[0]).write_bytes(b"<html>404 not found</html>")
    named = re.escape(item.members[0])
    with pytest.raises(ValueError, match=rf"(?s)are prepared.*\(1\).*{named}, but it is empty or"):
        prepare(name, tmp_path / "source", tmp_path / "out", workers=1)


@every_layout
def test_only_the_set_itself_is_recognised(name, build, counts, tmp_path):
    build(tmp_path / "source")
    with open_source(as_zip(tmp_path / "source", tmp_path / "download.zip")) as source:
        likely = looks_like(source)
    if build is official.pranet:
        assert likely == ["pranet", "cvc300", "colondb", "etis"]
    else:
        assert likely == [name]


@pytest.mark.parametrize(
    ("name", "build"), [("kvasir", official.kvasir), ("isic", official.isic2016)]
)
def test_folders_zips_and_tars_give_the_same(name, build, tmp_path):
    root = tmp_path / "source"
    build(root)
    sources = [
        root,
        as_zip(root, tmp_path / "a.zip", "some folder/"),
        as_tar(root, tmp_path / "a.tgz"),
    ]
    written = []
    for number, source in enumerate(sources):
        folder = prepare(name, source, tmp_path / f"out{number}", workers=1)
        written.append(
            {
                path.relative_to(folder): path.read_bytes()
                for path in folder.rglob("*.*")
                if path.name not in (".lock", "dataset.json")
            }
        )
    assert written[0] == written[1] == written[2]


def test_every_converter_writes_where_its_data_set_is_looked_for():
    for name, converter in CONVERTERS.items():
        assert converter.name == name
        if converter.card:
            assert converter.folder == DATASETS[name].folder
            assert converter.card in CARDS


def masks_of(name, build, tmp_path):
    build(tmp_path / "source")
    folder = prepare(name, tmp_path / "source", tmp_path / "out", workers=1)
    return {
        path.relative_to(folder / "masks").as_posix(): np.asarray(Image.open(path)) > 0
        for path in (folder / "masks").rglob("*.png")
    }, entries_of(folder)


def entries_of(folder):
    return {
        entry["mask_name"]: entry | {"split": path.stem}
        for path in (folder / "anns").iterdir()
        for entry in json.loads(path.read_text())
    }


def expected(*box):
    return np.asarray(outline(*box)) > 0


def test_jpeg_masks_of_kvasir_are_cut_at_half_range(tmp_path):
    masks, entries = masks_of("kvasir", official.kvasir, tmp_path)
    for number, stem in enumerate(KVASIR):
        assert (masks[f"{stem}.png"] == expected(4, 4, 20 + number, 24)).mean() > 0.99
        assert entries[f"{stem}.png"]["img_name"] == f"{stem}.jpg"


def test_sequences_of_clinicdb_are_groups_and_stay_together(tmp_path):
    masks, entries = masks_of("clinicdb", official.clinicdb_kaggle, tmp_path)
    assert list(masks) != []
    assert all(entry["img_name"].endswith(".png") for entry in entries.values())
    assert entries["12.png"]["group"] == "sequence 3"
    assert entries["12.png"]["facts"] == {"sequence": "3"}
    splits = {}
    for entry in entries.values():
        splits.setdefault(entry["group"], set()).add(entry["split"])
    assert len(splits) == 4
    assert all(len(some) == 1 for some in splits.values())
    assert (masks["7.png"] == expected(2, 3, 17, 20)).all()
    cases = load_data("clinicdb", tmp_path / "out", split="train").cases
    assert {case.group for case in cases} <= {f"sequence {n}" for n in range(4)}


def test_a_frame_without_a_sequence_is_refused(tmp_path):
    official.clinicdb_kaggle(tmp_path / "source")
    table = tmp_path / "source" / "metadata.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]))
    with pytest.raises(ValueError, match=r"got none of frame 12 \(1 frames without\)"):
        prepare("clinicdb", tmp_path / "source", tmp_path / "out")
    table.write_text("frame_id,frame\n1,2\n")
    with pytest.raises(ValueError, match=r"column 'sequence_id' in .*metadata.csv, got frame_id"):
        prepare("clinicdb", tmp_path / "source", tmp_path / "out")


def test_masks_of_etis_belong_to_the_images_of_their_numbers(tmp_path):
    _, entries = masks_of("etis", official.etis, tmp_path)
    assert {e["mask_name"]: e["img_name"] for e in entries.values()} == {
        "1.png": "1.tif", "2.png": "2.tif", "10.png": "10.tif",
    }  # fmt: skip


def test_pranet_keeps_its_five_test_sets_apart(tmp_path):
    _, entries = masks_of("pranet", official.pranet, tmp_path)
    assert entries["CVC-ColonDB/1.png"]["facts"] == {"set": "CVC-ColonDB"}
    assert entries["CVC-ClinicDB/1.png"]["img_name"] == "CVC-ClinicDB/1.png"
    assert entries["TrainDataset/2.png"]["facts"] == {"set": "CVC-ClinicDB"}
    assert entries[f"TrainDataset/{KVASIR[2]}.png"]["facts"] == {"set": "Kvasir"}
    tested = [e["facts"]["set"] for e in entries.values() if e["split"] == "test"]
    assert len(tested) == 10
    assert len(set(tested)) == 5
    cases = load_data("pranet", tmp_path / "out", split="test").cases
    assert [case.dataset for case in cases] == tested


def test_either_archive_of_pranet_will_do(tmp_path):
    official.pranet(tmp_path / "source")
    only = tmp_path / "source" / "TrainDataset"
    folder = prepare("pranet", only, tmp_path / "out", workers=1)
    assert sorted(path.stem for path in (folder / "anns").iterdir()) == ["train", "val"]


def test_red_and_green_of_bkai_are_foreground_and_black_is_not(tmp_path):
    masks, _ = masks_of("bkai", official.bkai, tmp_path)
    assert len(masks) == 3  # neither the test images nor the submission
    for number in (0, 1):
        agree = masks[f"{number:032x}.png"] == expected(8, 6, 28, 20)
        assert agree.mean() > 0.99
    assert not masks[f"{2:032x}.png"].any()


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 255), (255, 255, 0)])
@pytest.mark.parametrize("ending", ["jpeg", "png"])
def test_other_colours_in_masks_of_bkai_are_refused(ending, colour, tmp_path):
    official.bkai(tmp_path / "source")
    pixels = np.zeros((30, 40, 3), dtype=np.uint8)
    pixels[8:24, 8:24] = colour
    stem = f"{0:032x}"
    (tmp_path / "source" / f"train_gt/train_gt/{stem}.jpeg").unlink()
    save(tmp_path / "source", f"train_gt/train_gt/{stem}.{ending}", Image.fromarray(pixels))
    with pytest.raises(ValueError, match=rf"2 of 3(?s:.*){stem}.*red, green and black, got \("):
        prepare("bkai", tmp_path / "source", tmp_path / "out", workers=1)


def test_isic_masks_are_called_as_medvlsm_calls_them(tmp_path):
    _, entries = masks_of("isic2017", official.isic2017, tmp_path)
    assert set(entries) == {f"ISIC_{n:07d}_Segmentation.png" for n in range(3)}
    assert [e["img_name"] for e in entries.values() if e["split"] == "val"] == ["ISIC_0000001.jpg"]


def test_isic_tables_become_facts(tmp_path):
    _, entries = masks_of("isic2017", official.isic2017, tmp_path)
    facts = {entry["img_name"]: entry["facts"] for entry in entries.values()}
    assert facts["ISIC_0000000.jpg"] == {"pathology": "naevus"}  # age and sex are unknown
    assert facts["ISIC_0000001.jpg"] == {"age": "45", "sex": "female", "pathology": "melanoma"}


def test_archives_of_isic_lie_in_one_folder(tmp_path):
    official.isic2016(tmp_path / "source")
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    for folder in (tmp_path / "source").iterdir():
        # One with a folder of its own inside, as most are, and one without.
        prefix = f"{folder.name}/" if "Data" in folder.name else ""
        as_zip(folder, downloads / f"{folder.name}.zip", prefix)
    prepare("isic", downloads, tmp_path / "out", workers=1)
    assert len(load_data("isic", tmp_path / "out", split="test")) == 2
    (downloads / "ISBI2016_ISIC_Part1_Test_GroundTruth.zip").unlink()
    with pytest.raises(ValueError, match="Expected ISBI2016_ISIC_Part1_Test_GroundTruth beside"):
        prepare("isic", downloads, tmp_path / "out", workers=1)


def test_masks_of_busi_are_merged_and_healthy_breasts_have_none(tmp_path):
    masks, entries = masks_of("busi", official.busi, tmp_path)
    assert set(masks) == {"1_benign.png", "100_benign.png", "1_malignant.png", "1_normal.png"}
    merged = expected(2, 2, 9, 9) | expected(15, 2, 20, 9) | expected(25, 2, 30, 9)
    assert (masks["100_benign.png"] == merged).all()
    assert (masks["1_benign.png"] == expected(2, 2, 9, 9)).all()
    assert not masks["1_normal.png"].any()
    assert entries["1_malignant.png"]["facts"] == {"pathology": "malignant"}


def test_a_tumour_of_busi_without_mask_is_refused_and_a_healthy_breast_is_not(tmp_path):
    official.busi(tmp_path / "source")
    top = tmp_path / "source" / "Dataset_BUSI_with_GT"
    (top / "normal" / "normal (1)_mask.png").unlink()
    prepare("busi", tmp_path / "source", tmp_path / "out", workers=1)
    (top / "malignant" / "malignant (1)_mask.png").unlink()
    (top / "benign" / "benign (1).png").unlink()
    with pytest.raises(
        ValueError, match=r"\(2\)(?s:.*)benign \(1\)_mask.png: no image(?s:.*)\(1\).png: no mask"
    ):
        prepare("busi", tmp_path / "source", tmp_path / "out", workers=1)


@pytest.mark.parametrize(
    ("name", "option", "way_on"),
    [
        ("coco", "ignore", "prepare them with `pairs` and --mask.ignore"),
        ("coco", "values", "a category is a structure"),
        ("mask2d", "values", "--options labels 1=liver,2=tumour"),
    ],
)
def test_an_option_of_another_converter_says_what_to_do(name, option, way_on, tmp_path):
    save(tmp_path / "source", "a.png", picture(0))
    with pytest.raises(ValueError, match=way_on):
        prepare(name, tmp_path / "source", tmp_path / "out", options={option: "1"}, workers=1)


def own_pairs(root, images="images", masks="masks", ending=""):
    for number in range(8):
        save(root, f"{images}/patient{number // 2} {number}.jpg", picture(number))
        save(root, f"{masks}/patient{number // 2} {number}{ending}.png", outline(1, 1, 9, 9))


def test_a_second_set_of_ones_own_does_not_take_the_place_of_the_first(tmp_path):
    options = {"structure": "liver tumour"}
    own_pairs(tmp_path / "one")
    folder = prepare("pairs", tmp_path / "one", tmp_path / "out", options=options, workers=1)
    for path in sorted((tmp_path / "one").glob("*/*")):
        path.rename(path.with_name(f"other {path.name}"))
    with pytest.raises(ValueError, match=r"none of its 8 masks would remain. Choose another --out"):
        prepare("pairs", tmp_path / "one", tmp_path / "out", options=options, workers=1)
    assert len(list((folder / "images").iterdir())) == 8


def test_a_set_that_was_not_finished_does_not_block_its_correction(tmp_path):
    for number in range(4):
        save(tmp_path / "source", f"images/{number}.png", picture(number))
        drawn = Image.new("L", picture(number).size)
        drawn.paste(1, (1, 1, 9, 9))
        save(tmp_path / "source", f"masks/{number}.png", drawn)
    source, out = tmp_path / "source", tmp_path / "out"
    with pytest.raises(ValueError, match="Expected foreground in some of the 4 masks"):
        prepare("pairs", source, out, options={"structure": "x", "values": "7"}, workers=1)
    folder = prepare("pairs", source, out, options={"values": "1=liver,0=rest"}, workers=1)
    assert sorted(p.name for p in (folder / "masks").rglob("*.png")) == [
        f"{number}.png" for number in range(4) for _ in range(2)
    ]  # below liver/ and rest/; those of the first try are gone


@pytest.mark.parametrize(
    ("images", "masks", "ending", "told"),
    [
        ("images", "masks", "", {"group": r"patient\d+"}),
        ("images", "masks", "_Segmentation", {}),  # the names say it
        ("all", "all", "_mask", {"group": r"(patient\d+) "}),
    ],
)
def test_pairs_are_found_by_name_with_groups_as_told(images, masks, ending, told, tmp_path):
    own_pairs(tmp_path / "source", images, masks, ending)
    options = {"structure": "liver tumour", **told}
    folder = prepare("pairs", tmp_path / "source", tmp_path / "out", options=options, workers=1)
    entries = entries_of(folder).values()
    assert len(entries) == 8
    assert {entry["structure"] for entry in entries} == {"liver tumour"}
    assert {entry["group"] for entry in entries} == {f"patient{n}" for n in range(4)}
    data = [load_data("folder", folder, split=path.stem) for path in (folder / "anns").iterdir()]
    assert {case.structure for d in data for case in d.cases} == {"liver tumour"}


def test_pairs_from_folders_of_other_names(tmp_path):
    own_pairs(tmp_path / "source", "scans", "truth")
    options = {"structure": "liver tumour", "images": "scans", "masks": "truth"}
    assert prepare("pairs", tmp_path / "source", tmp_path / "out", options=options, workers=1)
    with pytest.raises(ValueError, match=r"called images \(or --options images NAME\) in .*scans"):
        prepare("pairs", tmp_path / "source", tmp_path / "o2", options={"structure": "x"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Say it with --options structure TEXT"),
        ({"structure": "x", "grup": "y"}, "values, ignore, got 'grup'. Did"),
        ({"structure": "x", "group": "("}, "Expected a regular expression for the group"),
        ({"structure": "x", "group": "patient"}, "at least 3 patients, .* got 1 .patient"),
        ({"structure": "x", "group": "case"}, "Expected 'case' in the name of every image, got"),
    ],
)
def test_options_of_pairs_that_make_no_sense_are_refused(options, message, tmp_path):
    own_pairs(tmp_path / "source")
    with pytest.raises(ValueError, match=message):
        prepare("pairs", tmp_path / "source", tmp_path / "out", options=options)
