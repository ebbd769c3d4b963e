"""CAMUS in the layouts of its two releases, written by the libraries that its publishers used."""

import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from palpate.data import load_data
from palpate.data.prepare import CONVERTERS, open_source, prepare

sitk = pytest.importorskip("SimpleITK")
pytest.importorskip("nibabel")

FACTS = "ED: 1\nES: 18\nNbFrame: 18\nSex: F\nAge: 56\nImageQuality: Good\nEF: 65\nFrameRate: 45.9\n"
NIFTI, META = ".nii.gz", ".mhd"


def heart(seed=0, shape=(14, 10)):
    """An image and its labels (rows, columns): ventricle on top, muscle around it, atrium below."""
    image = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[1:8, 2:8] = 2
    labels[2:8, 3 + seed % 2 : 6] = 1
    labels[8:12, 3:7] = 3
    return image, labels


def save(path, pixels):
    made = sitk.GetImageFromArray(pixels[None])
    made.SetSpacing((0.308, 0.154, 1.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(made, str(path))


def write_patient(folder, patient, suffix=NIFTI, *, seed=0, truth=True, facts=FACTS):
    for view in ("2CH", "4CH"):
        for n, phase in enumerate(("ED", "ES")):
            image, labels = heart(seed + n)
            save(folder / patient / f"{patient}_{view}_{phase}{suffix}", image)
            if truth:
                save(folder / patient / f"{patient}_{view}_{phase}_gt{suffix}", labels)
        (folder / patient / f"Info_{view}.cfg").write_text(facts)
        film = np.stack([heart(seed)[0]] * 3)
        sitk.WriteImage(
            sitk.GetImageFromArray(film),
            str(folder / patient / f"{patient}_{view}_half_sequence{suffix}"),
        )


@pytest.fixture
def public(tmp_path):
    """The release of today: three patients and their official split."""
    root = tmp_path / "CAMUS_public"
    (root / "database_split").mkdir(parents=True)
    for n, subgroup in enumerate(("training", "validation", "testing"), start=1):
        write_patient(root / "database_nifti", f"patient000{n}", seed=10 * n)
        (root / "database_split" / f"subgroup_{subgroup}.txt").write_text(f"patient000{n}\n")
    return root


def found(root):
    with open_source(root) as source:
        return CONVERTERS["camus"].find(source)


def test_three_masks_of_four_frames_a_patient_in_the_official_split(public):
    items = found(public)
    assert len(items) == 3 * 4 * 3
    assert {(item.group, item.split) for item in items} == {
        ("patient0001", "train"),
        ("patient0002", "val"),
        ("patient0003", "test"),
    }
    first = items[0]
    assert first.image_name == "patient0001_2CH_ED.png"
    assert first.mask_name == "mask_1/patient0001_2CH_ED_gt.png"
    assert [item.structure for item in items[:3]] == ["left ventricle", "myocardium", "left atrium"]
    assert first.facts == {
        "view": "two-chamber",
        "phase": "end of diastole",
        "sex": "female",
        "age": "56",
        "quality": "good",
    }


def test_pixels_are_those_of_the_file_apex_up(public):
    with open_source(public) as source:
        items = CONVERTERS["camus"].find(source)
        image, labels = heart(20)
        ours = [item for item in items if item.image_name == "patient0002_4CH_ED.png"]
        assert_array_equal(ours[0].read_image(), np.repeat(image[..., None], 3, axis=2))
        for label, item in enumerate(ours, start=1):
            assert_array_equal(item.read_mask(), labels == label)


def test_both_releases_give_the_same_pixels(tmp_path):
    for suffix, folder in ((NIFTI, "a"), (META, "b")):
        write_patient(tmp_path / folder / "training", "patient0001", suffix)
    with open_source(tmp_path / "a") as new, open_source(tmp_path / "b") as old:
        pairs = [CONVERTERS["camus"].find(source) for source in (new, old)]
        for one, other in zip(*pairs, strict=True):
            assert one.mask_name == other.mask_name
            assert_array_equal(one.read_image(), other.read_image())
            assert_array_equal(one.read_mask(), other.read_mask())


def test_what_is_written_is_read_again(public, tmp_path):
    prepare("camus", public, tmp_path / "out")
    data = load_data("camus", tmp_path / "out", split="val", prompt="p1")
    assert len(data) == 12
    assert {case.group for case in data.cases} == {"patient0002"}
    image, labels = heart(20)
    sample = next(
        data[i] for i, c in enumerate(data.cases) if c.key == "mask_3/patient0002_2CH_ED_gt"
    )
    assert_array_equal((sample.image[0] * 255).numpy(), image)
    assert_array_equal(sample.mask[0].numpy(), labels == 3)
    entries = json.loads((tmp_path / "out" / "camus" / "anns" / "val.json").read_text())
    assert entries[0]["facts"]["age"] == "56"


def test_testing_patients_of_the_old_release_are_others_than_their_namesakes(tmp_path):
    for patient in ("patient0001", "patient0050", "patient0051"):
        write_patient(tmp_path / "training", patient, META)
    write_patient(tmp_path / "testing", "patient0001", META, seed=7)
    items = found(tmp_path)
    assert {(item.group, item.split) for item in items} == {
        ("patient0001", "val"),
        ("patient0050", "val"),
        ("patient0051", "train"),
        ("testing_patient0001", "test"),
    }
    assert len({item.mask_name for item in items}) == len(items) == 48


def test_testing_patients_without_ground_truth_are_left_out_aloud(tmp_path):
    write_patient(tmp_path / "training", "patient0001", META)
    write_patient(tmp_path / "testing", "patient0001", META, truth=False)
    with open_source(tmp_path) as source:
        items = CONVERTERS["camus"].find(source)
    ((why, names),) = source.left_out.items()
    assert why == "frames in testing/, which have no published ground truth"
    assert len(names) == 4
    assert {(item.group, item.split) for item in items} == {("patient0001", None)}


def test_what_is_not_known_of_a_patient_is_not_told(tmp_path):
    write_patient(tmp_path, "patient0001", facts="ED: 1\nSex: \nAge: NaN\nImageQuality: Poor\n")
    assert found(tmp_path)[0].facts == {
        "view": "two-chamber",
        "phase": "end of diastole",
        "quality": "poor",
    }


def test_without_ground_truth_or_facts_the_files_are_named(public):
    (public / "database_nifti/patient0002/patient0002_2CH_ES_gt.nii.gz").unlink()
    with pytest.raises(ValueError, match=r"only one \(1\):\n.*patient0002_2CH_ES\.nii\.gz"):
        found(public)


def test_missing_facts_are_named(public):
    (public / "database_nifti/patient0003/Info_4CH.cfg").unlink()
    with pytest.raises(FileNotFoundError, match=r"\(1\):\n.*patient0003/Info_4CH\.cfg"):
        found(public)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("database_split/subgroup_testing.txt", ValueError, r"subgroup_testing\.txt: no patient"),
        ("database_nifti/patient0001/Info_2CH.cfg", FileNotFoundError, r"Info_2CH\.cfg \(empty\)"),
    ],
)
def test_files_of_facts_that_were_cut_off_are_named(name, error, message, public):
    (public / name).write_text("")
    with pytest.raises(error, match=message):
        found(public)


def test_a_patient_in_no_or_two_subgroups_is_named(public):
    file = public / "database_split" / "subgroup_training.txt"
    file.write_text("patient0003\n")
    with pytest.raises(ValueError, match=r"some in several or none \(1\):\n  patient0003: t"):
        found(public)
    file.write_text("patient0009\n")
    with pytest.raises(ValueError, match=r"Expected every patient .*\(1\):\n  patient0001"):
        found(public)


@pytest.mark.parametrize("turn", ["side", "head"])
def test_hearts_on_their_side_or_head_are_refused(turn, public):
    image, labels = heart()
    quarters = 1 if turn == "side" else 2
    name = "database_nifti/patient0001/patient0001_2CH_ED"
    save(public / f"{name}.nii.gz", np.ascontiguousarray(np.rot90(image, quarters)))
    save(public / f"{name}_gt.nii.gz", np.ascontiguousarray(np.rot90(labels, quarters)))
    with pytest.raises(ValueError, match=r"left atrium below the left ventricle in .*2CH_ED_gt"):
        prepare("camus", public, public.parent / "out")


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((14, 10), 4, np.uint8), r"labels 0 to 3 in .*, got \[4\]"),
        (np.full((14, 10), 0.5, np.float32), r"labels 0 to 3 in .*, got \[0\.5\]"),
        (np.zeros((14, 9), np.uint8), r"of 10x14x1 voxels in .*_gt\.nii\.gz, .* got 9x14x1"),
        (np.zeros((2, 14, 10), np.uint8), r"of 10x14x1 voxels in .*_gt\.nii\.gz, .* got 10x14x2"),
    ],
)
def test_wrong_ground_truths_spoil_only_themselves(pixels, message, public, tmp_path):
    path = public / "database_nifti/patient0001/patient0001_2CH_ED_gt.nii.gz"
    if pixels.ndim == 2:
        save(path, pixels)
    else:
        made = sitk.GetImageFromArray(pixels)
        made.SetSpacing((0.308, 0.154, 1.0))
        sitk.WriteImage(made, str(path))
    with pytest.raises(ValueError, match=rf"11 of 12 images are prepared(.|\n)*{message}"):
        prepare("camus", public, tmp_path / "out")


def test_another_folder_is_no_camus(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"patient0001_2CH_ED\.nii\.gz .*found none"):
        found(tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize("suffix", [NIFTI, META])
def test_real_frames_come_back_as_they_are(suffix, real_root, tmp_path):
    """The bundle's pictures, packed as CAMUS packs them, are unpacked to the same pictures."""
    root = real_root / "camus"
    frames = [path.stem for path in sorted((root / "images").glob("*.png"))][::150]
    for stem in frames:
        folder = tmp_path / "in" / stem.split("_")[0]
        save(folder / f"{stem}{suffix}", np.asarray(Image.open(root / f"images/{stem}.png")))
        save(folder / f"{stem}_gt{suffix}", np.asarray(Image.open(root / f"labels/{stem}_gt.png")))
        (folder / f"Info_{stem.split('_')[1]}.cfg").write_text(FACTS)
    made = prepare("camus", tmp_path / "in", tmp_path / "out")
    assert len(frames) >= 4
    for stem in frames:
        assert_array_equal(
            *map(pixels_of, (made / f"images/{stem}.png", root / f"images/{stem}.png"))
        )
        for k in (1, 2, 3):
            name = f"masks/mask_{k}/{stem}_gt.png"
            assert_array_equal(*map(pixels_of, (made / name, root / name)))


def pixels_of(path):
    return np.asarray(Image.open(path))
