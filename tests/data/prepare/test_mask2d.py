"""Volumes with segmentations in the layouts they come in, written by the usual libraries."""

import gzip
import io
import json
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from palpate.data import load_data
from palpate.data.prepare import CONVERTERS, LeftOut, open_source, prepare
from palpate.data.volumes import read_series

from ..volumes.conftest import dicom, nibabel, nifti, pydicom, series
from ..volumes.test_dicom_seg import seg

SHAPE = (6, 5, 4)  # i, j, k
LPS = np.diag([-1.0, -1.0, 5.0, 1.0])  # as stored is as displayed


def scan(seed=0):
    return np.random.default_rng(seed).integers(0, 256, SHAPE, dtype=np.uint8)


def outline():
    """Label 1 in slices 1 to 3, most in 2; label 2 in slice 3 alone."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[1, 1, 1] = labels[1:4, 1:4, 2] = labels[1:3, 1, 3] = 1
    labels[4:, 3:, 3] = 2
    return labels


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_case(root, image, mask, *, seed=0, labels=None, affine=LPS, mask_affine=LPS):
    put(root / image, nifti(scan(seed), affine))
    put(root / mask, nifti(outline() if labels is None else labels, mask_affine))


def found(root, **options):
    with open_source(root) as source:
        return CONVERTERS["mask2d"].find(source, **options)


def pixels(root, **options):
    with open_source(root) as source:
        items = CONVERTERS["mask2d"].find(source, **options)
        return {item.mask_name: (item.read_image(), item.read_mask()) for item in items}


def test_the_largest_slice_of_every_structure(tmp_path):
    write_case(tmp_path, "images/p1.nii.gz", "masks/p1.nii.gz")
    ours = pixels(tmp_path, labels="1=liver,2=tumour")
    assert sorted(ours) == ["liver/p1_0002.png", "tumour/p1_0003.png"]
    image, mask = ours["liver/p1_0002.png"]
    assert_array_equal(image, np.repeat(scan()[:, :, 2].T[..., None], 3, axis=2))
    assert_array_equal(mask, outline()[:, :, 2].T == 1)
    assert_array_equal(ours["tumour/p1_0003.png"][1], outline()[:, :, 3].T == 2)


@pytest.mark.parametrize(
    ("rule", "numbers"),
    [
        ("middle", {1: [2], 2: [3]}),
        ("all", {1: [1, 2, 3], 2: [3]}),
        ("every-2", {1: [1, 3], 2: [3]}),
        ("index-0", {1: [0], 2: [0]}),
    ],
)
def test_other_rules(rule, numbers, tmp_path):
    write_case(tmp_path, "images/p1.nii.gz", "masks/p1.nii.gz")
    expected = {f"label {k}/p1_{n:04d}.png" for k, some in numbers.items() for n in some}
    assert {item.mask_name for item in found(tmp_path, slices=rule)} == expected


def test_what_is_written_is_read_again(tmp_path):
    for n in range(3):
        write_case(tmp_path / "in", f"images/p{n}.nii.gz", f"masks/p{n}.nii.gz", seed=n)
    options = {"labels": "1=liver,2=tumour", "slices": "all"}
    prepare("mask2d", tmp_path / "in", tmp_path / "out", options=options)
    data = load_data("folder", tmp_path / "out" / "mask2d", split="train")
    assert {case.structure for case in data.cases} == {"liver", "tumour"}
    assert len({case.group for case in data.cases}) == 1
    (patient,) = {case.group for case in data.cases}
    sample = next(s for s in data if s.case.key == f"liver/{patient}_0002")
    assert_array_equal((sample.image[0] * 255).numpy(), scan(int(patient[1]))[:, :, 2].T)


LAYOUTS = {
    "decathlon": ("imagesTr/liver_1.nii.gz", "labelsTr/liver_1.nii.gz", "liver_1"),
    "nnU-Net": ("imagesTr/case_01_0000.nii.gz", "labelsTr/case_01.nii.gz", "case_01"),
    "side by side": ("p1.nii", "p1_seg.nii", "p1"),
    "BraTS": ("BraTS_001/BraTS_001_flair.nii", "BraTS_001/BraTS_001_seg.nii", "BraTS_001"),
    "folders of cases": ("case7/volume.nii", "case7/segmentation.nii", "case7"),
    "bare": ("x/volume.nii", "y/masks/volume_mask.nii", None),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_find_each_other_by_name(layout, tmp_path):
    image, mask, case = LAYOUTS[layout]
    write_case(tmp_path, image, mask)
    if case is None:
        with pytest.raises(ValueError, match=r"one image for each segmentation(.|\n)*: none"):
            found(tmp_path)
        return
    assert {item.group for item in found(tmp_path)} == {case}


def test_patterns_say_which_files_belong_together(tmp_path):
    for case in ("s1", "s2"):
        write_case(tmp_path, f"{case}/{case}-t1.nii", f"out/{case}.nii.gz")
        put(tmp_path / case / f"{case}-t2.nii", nifti(scan(9), LPS))
    with pytest.raises(ValueError, match="Expected"):
        found(tmp_path)
    options = {"images": "{case}/{case}-t2.nii", "masks": "out/{case}.nii.gz", "structure": "cyst"}
    items = found(tmp_path, **options)
    assert {item.members[0] for item in items} == {"s1/s1-t2.nii", "s2/s2-t2.nii"}
    (tmp_path / "out" / "s2.nii.gz").unlink()
    with pytest.raises(ValueError, match=r"only one is there of \(1\):\n  s2"):
        found(tmp_path, **options)
    with pytest.raises(ValueError, match=r"Expected \{case\} in the pattern 'a\.nii'"):
        found(tmp_path, images="a.nii", masks="b.nii")
    with pytest.raises(ValueError, match="for both"):
        found(tmp_path, images="{case}.nii")


def test_cases_without_foreground_are_told(tmp_path):
    write_case(tmp_path, "images/p1.nii.gz", "masks/p1.nii.gz")
    write_case(
        tmp_path, "images/p2.nii.gz", "masks/p2.nii.gz", labels=np.zeros(SHAPE, dtype=np.uint8)
    )
    with open_source(tmp_path) as source:
        assert {item.group for item in CONVERTERS["mask2d"].find(source)} == {"p1"}
    ((why, names),) = source.left_out.items()
    assert why.startswith("cases without foreground")
    assert names == ("images/p2.nii.gz", "masks/p2.nii.gz")


def test_voxels_that_are_no_numbers_are_told_with_their_file(tmp_path):
    voxels = scan().astype(np.float32)
    voxels[0, 0, 0] = np.nan
    put(tmp_path / "images" / "p1.nii", nifti(voxels, LPS))
    put(tmp_path / "masks" / "p1.nii", nifti(outline(), LPS))
    with pytest.raises(ValueError, match=r"p1\.nii: expected finite values only"):
        pixels(tmp_path)


def test_frames_of_a_patient_are_of_one_group(tmp_path):
    for frame in ("frame01", "frame12"):
        name = f"patient001/patient001_{frame}"
        write_case(tmp_path, f"{name}.nii.gz", f"{name}_gt.nii.gz")
    assert {item.group for item in found(tmp_path)} == {"patient001"}
    assert len({item.image_name for item in found(tmp_path)}) > 1


def test_patients_by_a_pattern_and_splits_by_folders(tmp_path):
    for n, split in enumerate(("train", "test")):
        write_case(tmp_path, f"{split}/images/p{n}_a.nii", f"{split}/masks/p{n}_a.nii")
    items = found(tmp_path, group=r"^p\d")
    assert {(item.group, item.split) for item in items} == {("p0", "train"), ("p1", "test")}


@pytest.mark.parametrize(
    "labels", [{"1": "liver", "0": "background"}, {"background": 0, "liver": 1}]
)
def test_names_of_labels_from_the_file_beside_them(labels, tmp_path):
    write_case(tmp_path, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert {item.structure for item in found(tmp_path)} == {"liver", "label 2"}


def test_a_single_label_has_the_name_of_the_option(tmp_path):
    write_case(tmp_path, "images/a.nii.gz", "masks/a.nii.gz", labels=outline() // 2 * 255)
    assert [item.structure for item in found(tmp_path, structure="polyp")] == ["polyp"]


def test_a_segmentation_stored_the_other_way_round_is_turned(tmp_path):
    turned = np.flip(outline(), (0, 1))
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    affine[:2, 3] = -5, -4
    write_case(tmp_path, "images/a.nii", "masks/a.nii", labels=turned, mask_affine=affine)
    ours = pixels(tmp_path, labels="1=liver,2=tumour")
    assert_array_equal(ours["liver/a_0002.png"][1], outline()[:, :, 2].T == 1)


def test_windows_and_axes_are_applied(tmp_path):
    voxels = np.zeros(SHAPE, dtype=np.int16)
    voxels[2, 3, 1], voxels[4, 3, 1] = 40, 400
    put(tmp_path / "images/a.nii", nifti(voxels, LPS))
    put(tmp_path / "masks/a.nii", nifti((voxels > 0).astype(np.uint8), LPS))
    ours = pixels(tmp_path, window="0,80", axis="coronal", structure="rib")
    ((name, (image, mask)),) = ours.items()
    assert name == "rib/a_0001.png"  # from back to front
    assert image[2, 2].tolist() == [255] * 3  # from the head down, two of three
    assert image[2, 4].tolist() == [255] * 3
    assert image[0, 0].tolist() == [128] * 3
    assert np.argwhere(mask).tolist() == [[2, 2], [2, 4]]


@pytest.mark.parametrize(
    ("mask", "affine", "message"),
    [
        (np.ones((6, 5, 3), np.uint8), LPS, r"of 6x5x4 voxels in .*masks/a\.nii, .* got 6x5x3"),
        (
            np.ones(SHAPE, np.uint8),
            np.diag([-1.0, -1, 4, 1]),
            r"masks/a\.nii on the grid .* Resample",
        ),
        (np.full(SHAPE, 0.5, np.float32), LPS, "whole labels"),
        (-np.ones(SHAPE, np.int8), LPS, "labels from 0 on in .* got -1"),
        (np.ones((*SHAPE, 2, 2), np.uint8), LPS, "2 to 4 dimensions"),
        (np.zeros(SHAPE, np.uint8), LPS, "Expected foreground in the segmentations"),
    ],
)
def test_segmentations_that_do_not_fit_are_told(mask, affine, message, tmp_path):
    put(tmp_path / "images/a.nii", nifti(scan(), LPS))
    put(tmp_path / "masks/a.nii", nifti(mask, affine))
    with pytest.raises(ValueError, match=message):
        found(tmp_path)


def test_all_bad_cases_are_listed(tmp_path):
    for n in range(12):
        write_case(tmp_path, f"images/p{n}.nii", f"masks/p{n}.nii")
        (tmp_path / f"masks/p{n}.nii").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"\(12\):(.|\n)*and 2 more"):
        found(tmp_path)


def test_other_labels_in_a_prepared_folder_are_told_as_such(tmp_path):
    write_case(tmp_path / "in", "images/a.nii", "masks/a.nii")
    make = lambda labels: prepare(  # noqa: E731
        "mask2d", tmp_path / "in", tmp_path / "out", options={"labels": labels}, split_as="test"
    )
    make("1=liver,2=cyst")
    with pytest.raises(ValueError, match=r"labels was '1=liver,2=cyst' and is '1=a,2=b', .*--out"):
        make("1=a,2=b")
    assert len(make("1=liver,2=tumour").joinpath("anns", "test.json").read_text()) > 0


def test_what_was_found_is_told_if_nothing_fits(tmp_path):
    for name in ("ct", "drawn"):
        put(tmp_path / f"s1/{name}.nii", nifti(scan(), LPS))
    with pytest.raises(
        ValueError, match=r"2 images \(s1/ct\.nii, s1/drawn\.nii\) and no seg"
    ) as no:
        found(tmp_path)
    assert "--options images 'imagesTr/{case}" in str(no.value)
    with pytest.raises(
        ValueError, match=r"the pattern '\{case\}/ct', got none among 2: s1/ct\.nii"
    ):
        found(tmp_path, images="{case}/ct", masks="{case}/drawn.nii")


def test_volumes_of_freesurfer(tmp_path):
    for name, voxels in (("sub-1.mgz", scan()), ("sub-1_seg.mgz", outline())):
        image = nibabel.MGHImage(voxels, LPS.astype(np.float32))
        put(tmp_path / name, gzip.compress(image.to_bytes()))
    mask = pixels(tmp_path, labels="1=liver,2=cyst")["liver/sub-1_0002.png"][1]
    assert_array_equal(mask, outline()[:, :, 2].T == 1)
    data = (tmp_path / "sub-1.mgz").read_bytes()
    (tmp_path / "sub-1.mgz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"a complete MGH volume in .*sub-1\.mgz"):
        found(tmp_path)


def test_volumes_without_segmentation_are_left_out_aloud(tmp_path):
    write_case(tmp_path, "images/a.nii", "masks/a.nii")
    put(tmp_path / "images/b.nii", nifti(scan(), LPS))
    options = {"split_as": "test", "options": {"structure": "liver"}}
    with pytest.warns(LeftOut, match=r"(?s)1 file .* 1: 1 of 2 volumes, .* images/b\.nii"):
        prepare("mask2d", tmp_path, tmp_path.parent / "left out", **options)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"slices": "bigest"}, "Did you mean 'largest'"),
        ({"slices": "every-0"}, "every-N or index-N"),
        ({"slices": "index-9"}, "a slice among 0 to 3"),
        ({"axis": "axail"}, "Did you mean 'axial'"),
        ({"window": "ct-lnug"}, "Did you mean 'ct-lung'"),
        ({"labels": "liver"}, "labels such as 1=liver"),
    ],
)
def test_options_that_make_no_sense_are_told(option, message, tmp_path):
    write_case(tmp_path, "images/a.nii", "masks/a.nii")
    with pytest.raises(ValueError, match=message):
        found(tmp_path, **option)


def stack(seed=0):
    return np.random.default_rng(seed).integers(0, 900, (4, 5, 6)).astype(np.int16)


def write_series(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def with_overlay(files):
    """The same series with an overlay that has its bits beside the pixels, and private elements."""
    changed = {}
    for name, data in files.items():
        dataset = pydicom.dcmread(io.BytesIO(data))
        dataset.add_new((0x6000, 0x0010), "US", dataset.Rows)
        dataset.add_new((0x6000, 0x0011), "US", dataset.Columns)
        dataset.add_new((0x6000, 0x3000), "OW", b"\xff" * 8)
        dataset.InstitutionName, dataset.AccessionNumber = "SECRET HOSPITAL", "SECRET-9"
        dataset.private_block(0x0011, "SECRET MAKER", create=True).add_new(1, "LO", "JANE DOE")
        stream = io.BytesIO()
        dataset.save_as(stream)
        changed[name] = stream.getvalue()
    return changed


def labels_of(files):
    """A NIfTI of the outline on the grid of a series, stored as NIfTI tools store it."""
    volume = read_series(files.__getitem__, sorted(files))
    image = nibabel.Nifti1Image(outline(), volume.affine)
    return nibabel.as_closest_canonical(image).to_bytes()


def test_series_with_niftis_and_nothing_that_names_a_patient(tmp_path):
    for n, patient in enumerate(("SECRET-A", "SECRET-B", "SECRET-A", "SECRET-C")):
        files = series(stack(n), PatientID=patient, WindowCenter=450, WindowWidth=900)
        files = with_overlay(files)
        write_series(tmp_path / "in" / f"DOE^{n}" / "ct", files)
        put(tmp_path / "in" / f"DOE^{n}" / "mask.nii", labels_of(files))
    made = prepare(
        "mask2d",
        tmp_path / "in",
        tmp_path / "out",
        # A folder of DICOM files is a pattern without the ending of a file.
        options={
            "labels": "1=liver,2=cyst",
            "images": "DOE^{case}/ct",
            "masks": "DOE^{case}/mask.nii",
        },
    )
    entries = [e for p in (made / "anns").iterdir() for e in json.loads(p.read_text())]
    assert {entry["group"] for entry in entries} == {"patient-0001", "patient-0002", "patient-0003"}
    assert {entry["facts"]["modality"] for entry in entries} == {"CT"}
    told = [path for path in made.rglob("*") if path.is_file()]
    assert told
    for path in told:
        assert "DOE" not in path.name
        assert not any(secret in path.read_bytes() for secret in (b"SECRET", b"DOE", b"JANE"))


def test_what_is_written_of_private_files_does_not_confirm_a_guess(tmp_path):
    files = [series(stack(n), PatientID=str(n)) for n in range(3)]
    told = []
    for name in ("DOE^JANE", "somebody"):
        for n, each in enumerate(files):
            write_series(tmp_path / name / "in" / f"{n} {name}", each)
            put(tmp_path / name / "in" / f"{n} {name}" / "mask.nii", labels_of(each))
        made = prepare("mask2d", tmp_path / name / "in", tmp_path / name / "out")
        told.append((made / "dataset.json").read_text())
    assert told[0] == told[1]


def test_overlays_in_unused_bits_and_beside_the_pixels_stay_behind(tmp_path):
    values = stack()
    drawn = values.astype(np.uint16)
    drawn[:, 2] |= 1 << 12  # a line of an overlay
    layout = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 450, "WindowWidth": 900}
    write_series(tmp_path / "a", series(values.astype(np.uint16), **layout))
    write_series(tmp_path / "b", with_overlay(series(drawn, **layout)))
    ours = []
    for folder in ("a", "b"):
        files = {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}
        put(tmp_path / folder / "mask.nii", labels_of(files))
        ours.append(pixels(tmp_path / folder, labels="1=liver,2=cyst"))
    assert ours[0].keys() == ours[1].keys()
    for name, (image, _) in ours[0].items():
        assert_array_equal(image, ours[1][name][0])


def test_monochrome1_is_turned_so_that_large_values_are_dark(tmp_path):
    for folder, kind in (("a", "MONOCHROME1"), ("b", "MONOCHROME2")):
        files = series(stack(), PhotometricInterpretation=kind, WindowCenter=450, WindowWidth=900)
        write_series(tmp_path / folder, files)
        put(tmp_path / folder / "mask.nii", labels_of(files))
    turned, plain = (pixels(tmp_path / folder, labels="1=liver,2=cyst") for folder in ("a", "b"))
    for name, (image, _) in plain.items():
        assert_array_equal(turned[name][0], 255 - image)


def test_pixels_of_a_series_are_windowed_by_its_own_window(tmp_path):
    values = np.zeros((4, 5, 6), dtype=np.int16)
    values[2, 1] = [0, 100, 200, 300, 400, 500]
    files = series(values, WindowCenter=200, WindowWidth=200, VOILUTFunction="LINEAR_EXACT")
    write_series(tmp_path / "a", files)
    put(tmp_path / "a" / "mask.nii", labels_of(files))
    image, mask = pixels(tmp_path, labels="1=liver,2=cyst")["liver/patient-0001_series-01_0002.png"]
    assert image[1, :, 0].tolist() == [0, 0, 128, 255, 255, 255]
    assert_array_equal(mask, outline()[:, :, 2].T == 1)


def test_segmentations_of_dicom_find_the_series_they_are_of(tmp_path):
    uid = "1.2.3.4"
    write_series(tmp_path / "a", series(stack(), SeriesInstanceUID=uid))
    write_series(tmp_path / "b", series(stack(1), SeriesInstanceUID="1.2.3.5"))
    mask = np.zeros((5, 6))
    mask[1, 2] = 1
    data = seg([(1, 2, mask), (2, 3, mask)])
    dataset = pydicom.dcmread(io.BytesIO(data))
    reference = pydicom.Dataset()
    reference.SeriesInstanceUID = uid
    dataset.ReferencedSeriesSequence = pydicom.Sequence([reference])
    dataset.SeriesInstanceUID = "1.2.3.6"
    (tmp_path / "c").mkdir()
    dataset.save_as(tmp_path / "c" / "seg.dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # series b has no segmentation
        ours = pixels(tmp_path)
    assert {name.split("/")[0] for name in ours} == {"liver", "tumour"}
    _, found_mask = ours["liver/patient-0001_series-01_0002.png"]
    assert_array_equal(found_mask, mask == 1)


def test_text_in_the_pixels_is_warned_of_loudly(tmp_path):
    files = series(stack(), BurnedInAnnotation="YES")
    write_series(tmp_path / "a", files)
    put(tmp_path / "a" / "mask.nii", labels_of(files))
    with pytest.warns(
        UserWarning, match="4 DICOM images say that text is burned into their pixels"
    ):
        assert found(tmp_path)


def test_a_file_that_was_cut_off_before_its_series_is_listed(tmp_path):
    files = series(stack())
    name, data = next(iter(files.items()))
    end = data.index(b"UI", data.index(bytes.fromhex("20000e00")))  # of SeriesInstanceUID
    write_series(tmp_path / "a", files | {name: data[: end - 4]})
    put(tmp_path / "a" / "mask.nii", labels_of(files))
    with pytest.raises(ValueError, match=rf"{name}: it does not say which series it is of"):
        found(tmp_path)


def test_unreadable_dicom_files_are_listed(tmp_path):
    files = series(stack())
    write_series(tmp_path / "a", files | {"99.dcm": b"broken"})
    put(tmp_path / "a" / "mask.nii", labels_of(files))
    with pytest.raises(ValueError, match=r"readable DICOM files \(1\):\n.*99\.dcm"):
        found(tmp_path)


def test_files_without_suffix_are_known_by_their_mark(tmp_path):
    files = {name.removesuffix(".dcm"): data for name, data in series(stack()).items()}
    write_series(tmp_path / "a", files | {"LICENSE": b"free", "DICOMDIR": b"index"})
    put(tmp_path / "a" / "mask.nii", labels_of(files))
    assert found(tmp_path)


def test_contours_are_refused(tmp_path):
    files = series(stack())
    write_series(tmp_path / "a", files)
    kind = "1.2.840.10008.5.1.4.1.1.481.3"
    contours = dicom(np.zeros((2, 2), np.uint8), SOPClassUID=kind, SeriesInstanceUID="1.9")
    write_series(tmp_path / "a", {"rt.dcm": contours})
    with pytest.raises(ValueError, match=r"got contours \(RTSTRUCT\)"):
        found(tmp_path)


def film(*volumes):
    return nifti(np.stack(volumes, axis=-1), LPS)


def test_a_channel_of_an_image_is_chosen(tmp_path):
    put(tmp_path / "images/a.nii.gz", film(scan(0), scan(1)))
    put(tmp_path / "masks/a.nii.gz", nifti(outline(), LPS))
    for channel in (0, 1):
        ours = pixels(tmp_path, channel=str(channel), labels="1=liver,2=tumour")
        image, _ = ours["liver/a_0002.png"]
        assert_array_equal(image[..., 0], scan(channel)[:, :, 2].T)
    with pytest.raises(ValueError, match=r"among 0 to 1 of .*a\.nii\.gz, .* 6x5x4x2 .* none is"):
        found(tmp_path)
    with pytest.raises(ValueError, match=r"but channel 2 is chosen"):
        found(tmp_path, channel="2")
    with pytest.raises(ValueError, match=r"option channel to be an index from 0 on, got 'flair'"):
        found(tmp_path, channel="flair")


def test_masks_with_a_channel_for_each_structure(tmp_path):
    put(tmp_path / "images/a.nii", nifti(scan(), LPS))
    put(tmp_path / "masks/a.nii", film(*((outline() == n).astype(np.uint8) for n in range(3))))
    ours = pixels(tmp_path, labels="1=liver,2=tumour")
    assert sorted(ours) == ["liver/a_0002.png", "tumour/a_0003.png"]
    assert_array_equal(ours["tumour/a_0003.png"][1], outline()[:, :, 3].T == 2)
    # The same structures without a channel of the background, and in the other order of axes.
    turned, affine = np.flip(outline(), (0, 1)), np.diag([1.0, 1.0, 5.0, 1.0])
    affine[:2, 3] = -5, -4
    channels = np.stack([turned == 1, turned == 2], axis=-1).astype(np.float64)
    put(tmp_path / "masks/a.nii", nifti(channels, affine))
    again = pixels(tmp_path, labels="1=liver,2=tumour")
    for name, (_, mask) in ours.items():
        assert_array_equal(again[name][1], mask)
    write_case(tmp_path, "images/b.nii", "masks/b.nii")
    put(tmp_path / "masks/b.nii", film(*((outline() == n).astype(np.uint8) for n in range(3))))
    with pytest.raises(ValueError, match=r"channels of one kind, .* that of b, .* that of a:"):
        found(tmp_path)


def test_voxels_with_an_ignored_label_count_nowhere(tmp_path):
    labels = outline()
    labels[0, 0, :] = 255
    write_case(tmp_path, "images/p1.nii.gz", "masks/p1.nii.gz", labels=labels)
    (item,) = found(tmp_path, labels="1=liver", ignore="2, 255")
    assert item.mask_name == "liver/p1_0002.png"
    assert item.read_mask().sum() == 9
    assert np.argwhere(item.read_ignored()).tolist() == [[0, 0]]
    with pytest.raises(ValueError, match="labels from 0 on in the option ignore"):
        found(tmp_path, ignore="void")


def test_channels_have_no_label_to_ignore(tmp_path):
    channels = np.stack([outline() == 1, outline() == 2], axis=-1).astype(np.uint8)
    write_case(tmp_path, "images/p1.nii.gz", "masks/p1.nii.gz", labels=channels)
    with pytest.raises(ValueError, match=r"one map of labels in .*p1\.nii\.gz.*leave ignore out"):
        found(tmp_path, ignore="255")


def test_labels_that_scaling_moved_are_read(tmp_path):
    put(tmp_path / "images/a.nii", nifti(scan(), LPS))
    put(tmp_path / "masks/a.nii", nifti(outline(), LPS, slope=(1.000015, 0)))
    assert {item.structure for item in found(tmp_path)} == {"label 1", "label 2"}


def test_nan_is_found_before_anything_is_written_and_is_background_by_choice(tmp_path):
    voxels = scan().astype(np.float64)
    voxels[0, :, :] = np.nan
    for n in range(3):
        put(tmp_path / f"in/images/p{n}.nii", nifti(voxels if n else scan(), LPS))
        put(tmp_path / f"in/masks/p{n}.nii", nifti(outline(), LPS))
    with pytest.raises(ValueError, match=r"(?s)\(2\):.*p1: .*20 of 120 voxels; .*nan background"):
        prepare("mask2d", tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    ours = pixels(tmp_path / "in", nan="background", window="full", labels="1=liver,2=cyst")
    image, _ = ours["liver/p1_0002.png"]
    assert not image[:, 0].any()
    low, high = (np.nanmin(voxels), np.nanmax(voxels))
    shown = np.rint((voxels[1:, :, 2].T - low) / (high - low) * 255)
    assert_array_equal(image[:, 1:, 0], shown)


@pytest.mark.parametrize("lost", ["identity", "none"])
def test_a_mask_whose_header_lost_its_place_is_trusted_by_choice(lost, tmp_path):
    put(tmp_path / "images/a.nii", nifti(scan(), LPS))
    put(tmp_path / "masks/a.nii", nifti(outline(), code=1 if lost == "identity" else 0))
    with pytest.raises(ValueError, match=r"masks/a\.nii.* choose the option trust-shape yes"):
        found(tmp_path)
    with pytest.warns(UserWarning, match=r"1 of 1 segmentations have a header .* that of a;"):
        ours = pixels(tmp_path, **{"trust-shape": "yes", "labels": "1=liver,2=cyst"})
    assert_array_equal(ours["liver/a_0002.png"][1], outline()[:, :, 2].T == 1)
    put(tmp_path / "masks/a.nii", nifti(outline()[:, :, :3]))
    with pytest.raises(ValueError, match=r"of 6x5x4 voxels|of another size") as refused:
        found(tmp_path, **{"trust-shape": "yes"})
    assert "trust-shape" not in str(refused.value)  # it would not help


@pytest.mark.parametrize("kind", ["uint16", "float64", "int32"])
def test_types_of_files_do_not_matter(kind, tmp_path):
    put(tmp_path / "images/a.nii", nifti((scan() * 16.0).astype(kind), LPS))
    put(tmp_path / "masks/a.nii", nifti(outline().astype(kind) * 300, LPS))
    assert {item.structure for item in found(tmp_path)} == {"label 300", "label 600"}


def test_one_volume_is_a_test_set(tmp_path):
    write_case(tmp_path / "in", "images/a.nii", "masks/a.nii")
    with pytest.raises(ValueError, match=r"at least 3 patients, .* such as --split-as test"):
        prepare("mask2d", tmp_path / "in", tmp_path / "out")
    made = prepare("mask2d", tmp_path / "in", tmp_path / "out", split_as="test")
    assert [path.name for path in (made / "anns").iterdir()] == ["test.json"]
    assert len(load_data("folder", made, split="test")) == 2
