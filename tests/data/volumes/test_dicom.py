import io

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from palpate.data.volumes import (
    Window,
    is_dicom,
    on_grid_of,
    read_metaimage,
    read_nifti,
    read_series,
    slices,
)

from .conftest import AXIAL, CT, US, dicom, nibabel, pydicom, series

sitk = pytest.importorskip("SimpleITK")

OBLIQUE = (0.8, 0.6, 0, 0, 0, -1)


def read(files):
    return read_series(files.__getitem__, sorted(files))


@pytest.mark.parametrize("turn", [AXIAL, (0, 1, 0, 0, 0, -1), OBLIQUE])
def test_a_series_lies_where_simpleitk_finds_it(turn, stack, tmp_path):
    files = series(stack, turn=turn)
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    sitk.WriteImage(reader.Execute(), str(tmp_path / "its.mha"))
    theirs = read_metaimage(lambda name: (tmp_path / name).read_bytes(), "its.mha")
    ours = read(files)
    assert_allclose(ours.affine, theirs.affine, atol=1e-4)
    assert_array_equal(ours.voxels, theirs.voxels)


def test_slices_are_ordered_by_place_not_by_name_or_number(stack):
    assert_array_equal(read(series(stack)).voxels, stack.transpose(2, 1, 0))
    upwards = slices(read(series(stack)), "axial")
    assert_array_equal(upwards, stack)


def test_values_are_rescaled_and_the_window_of_the_middle_is_kept(stack):
    files = series(
        stack, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=[40, 50], WindowWidth=[400, 9]
    )
    volume = read(files)
    assert_array_equal(volume.voxels, 2.0 * stack.transpose(2, 1, 0) - 1024)
    assert volume.window == Window(40.0, 400.0, "LINEAR")
    assert not volume.inverted


def test_the_function_of_the_window_is_kept(stack):
    files = series(stack, WindowCenter=40, WindowWidth=400, VOILUTFunction="SIGMOID")
    assert read(files).window == Window(40.0, 400.0, "SIGMOID")


def table(first, values, bits):
    item = pydicom.Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item.LUTData = np.array(values, dtype="<u2").tobytes()
    return pydicom.Sequence([item])


def test_tables_in_place_of_a_window_are_applied():
    pixels = np.array([[0, 1, 2]], dtype=np.uint16)
    volume = read({"a": dicom(pixels, VOILUTSequence=table(0, [0, 4095, 7], 12))})
    assert volume.voxels.ravel().tolist() == [0, 4095, 7]
    assert volume.window.apply(volume.voxels).ravel().tolist() == pytest.approx([0, 1, 7 / 4095])


def test_monochrome1_is_marked_as_inverted():
    pixels = np.array([[0, 255]], dtype=np.uint8)
    assert read({"a": dicom(pixels, PhotometricInterpretation="MONOCHROME1")}).inverted


def test_frames_of_a_film_without_places_stay_in_order():
    film = np.arange(40, dtype=np.uint8).reshape(4, 2, 5)
    volume = read({"a": dicom(film, SOPClassUID=US)})
    assert volume.affine is None
    assert_array_equal(volume.voxels, film.transpose(2, 1, 0))


@pytest.mark.parametrize("frames", [1, 3])
def test_colour_is_eight_bits_with_its_channels_last(frames):
    film = np.arange(frames * 18, dtype=np.uint8).reshape(frames, 2, 3, 3)
    pixels = film if frames > 1 else film[0]
    volume = read({"a": dicom(pixels, SOPClassUID=US)})
    assert_array_equal(volume.voxels, film.transpose(2, 1, 0, 3))
    assert_array_equal(slices(volume, "2"), film)


def test_palettes_become_colours():
    palette = {f"{c}PaletteColorLookupTableDescriptor": [2, 0, 8] for c in ("Red", "Green", "Blue")}
    palette |= {"RedPaletteColorLookupTableData": b"\x05\xff"}
    palette |= {"GreenPaletteColorLookupTableData": b"\x06\x00"}
    palette |= {"BluePaletteColorLookupTableData": b"\x07\x01"}
    data = dicom(
        np.array([[0, 1]], dtype=np.uint8), PhotometricInterpretation="PALETTE COLOR", **palette
    )
    assert read({"a": data}).voxels[:, 0, 0].tolist() == [[5, 6, 7], [255, 0, 1]]


def enhanced(stack):
    """All slices in one file, each frame with its place and its own scale."""
    groups = []
    for k in range(len(stack)):
        plane, scale, group = (pydicom.Dataset() for _ in range(3))
        plane.ImagePositionPatient = [0, 0, 5 * (len(stack) - k)]
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = k + 1, 0, "US"
        group.PlanePositionSequence = pydicom.Sequence([plane])
        group.PixelValueTransformationSequence = pydicom.Sequence([scale])
        groups.append(group)
    turn, measures, window, shared = (pydicom.Dataset() for _ in range(4))
    turn.ImageOrientationPatient = list(AXIAL)
    measures.PixelSpacing, measures.SliceThickness = [2, 3], 5
    window.WindowCenter, window.WindowWidth = 10, 20
    shared.PlaneOrientationSequence = pydicom.Sequence([turn])
    shared.PixelMeasuresSequence = pydicom.Sequence([measures])
    shared.FrameVOILUTSequence = pydicom.Sequence([window])
    return dicom(
        stack,
        SOPClassUID=CT + ".1",
        PerFrameFunctionalGroupsSequence=pydicom.Sequence(groups),
        SharedFunctionalGroupsSequence=pydicom.Sequence([shared]),
    )


def test_enhanced_files_have_places_scales_and_windows_by_frame(stack):
    volume = read({"a": enhanced(stack)})
    scaled = stack * np.arange(1, 5)[:, None, None]
    assert_array_equal(volume.voxels, scaled[::-1].transpose(2, 1, 0))
    assert volume.spacing == (3, 2, 5)
    assert volume.window == Window(10.0, 20.0, "LINEAR")


def test_a_missing_slice_is_noticed(stack):
    files = series(np.concatenate([stack, stack]))
    del files["10.dcm"]  # the third
    with pytest.raises(ValueError, match=r"evenly spaced images .* 5\.00 to 10\.00 mm"):
        read(files)


def test_two_phases_in_one_folder_are_noticed(stack):
    files = series(stack) | {"x" + name: data for name, data in series(stack + 1).items()}
    with pytest.raises(ValueError, match=r"got 0\.00 to 5\.00 mm between them"):
        read(files)


def test_scouts_and_other_sizes_are_refused(stack):
    scout = series(stack[:1], turn=(0, 1, 0, 0, 0, -1))["00.dcm"]
    with pytest.raises(ValueError, match="parallel images"):
        read(series(stack) | {"99.dcm": scout})
    with pytest.raises(ValueError, match=r"images of one size .* \(5, 6\)\]"):
        read(series(stack) | {"99.dcm": series(stack[:1, :4])["00.dcm"]})


def test_damaged_files_are_named(stack):
    good = series(stack)["00.dcm"]
    assert is_dicom(good[:132])
    for bad in (b"", b"no DICOM at all" * 20, good[:200]):
        with pytest.raises(ValueError, match=r"Expected (a DICOM file|pixels) in a\.dcm"):
            read({"a.dcm": bad})
    with pytest.raises(ValueError, match=r"readable DICOM image in a\.dcm, but: "):
        read({"a.dcm": good[:-9]})


def test_a_file_that_announces_too_much_is_refused():
    huge = dicom(np.zeros((2, 2), dtype=np.uint8), NumberOfFrames=2_000_000_000, Rows=60_000)
    with pytest.raises(ValueError, match="more pixels than palpate reads"):
        read({"a.dcm": huge})


def test_what_holds_no_pixels_is_refused(stack):
    pixels = np.zeros((2, 2), dtype=np.uint8)
    report = pydicom.dcmread(io.BytesIO(dicom(pixels, Modality="SR")))
    del report.PixelData
    stream = io.BytesIO()
    report.save_as(stream)
    with pytest.raises(ValueError, match=r"Expected pixels in a\.dcm, .* without any \(SR\)"):
        read({"a.dcm": stream.getvalue()})


def test_a_nifti_of_the_series_fits_it_although_its_rows_run_the_other_way(stack, tmp_path):
    files = series(stack)
    image = read(files)
    canonical = nibabel.as_closest_canonical(
        nibabel.Nifti1Image(stack.transpose(2, 1, 0), image.affine)
    )
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    assert nibabel.aff2axcodes(canonical.affine) == ("R", "A", "S")
    segmentation = read_nifti(canonical.to_bytes(), "seg.nii")
    assert_array_equal(on_grid_of(segmentation, image), image.voxels)
