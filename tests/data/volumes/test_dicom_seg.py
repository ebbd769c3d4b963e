from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from palpate.data.volumes import SEG, read_seg, read_series

from .conftest import AXIAL, dicom, pydicom, series

ORIGIN = (-10, -20, 30)


def item(**elements):
    made = pydicom.Dataset()
    for name, value in elements.items():
        setattr(made, name, value)
    return pydicom.Sequence([made])


def seg(frames, *, labels=("liver", "tumour"), spacing=(2, 3), origin=ORIGIN, top=None):
    """``frames``: (segment number, slice, mask); of one bit, or of eight if there is a ``top``."""
    groups = []
    for number, k, _ in frames:
        group = pydicom.Dataset()
        place = [origin[0], origin[1], origin[2] + 5 * k]
        group.PlanePositionSequence = item(ImagePositionPatient=place)
        group.SegmentIdentificationSequence = item(ReferencedSegmentNumber=number)
        groups.append(group)
    shared = item(
        PlaneOrientationSequence=item(ImageOrientationPatient=list(AXIAL)),
        PixelMeasuresSequence=item(PixelSpacing=list(spacing), SliceThickness=5),
    )
    segments = [
        item(SegmentNumber=number, SegmentLabel=label)[0]
        for number, label in enumerate(labels, start=1)
    ]
    pixels = np.stack([mask for *_, mask in frames]).astype(np.uint8)
    bits = {}
    if top is None:
        data = np.packbits(pixels.ravel(), bitorder="little").tobytes()
        bits = {
            "BitsAllocated": 1,
            "BitsStored": 1,
            "HighBit": 0,
            "PixelData": data + b"\0" * (len(data) % 2),
        }
    else:
        bits = {"MaximumFractionalValue": top}
    return dicom(
        pixels,
        SOPClassUID=SEG,
        Modality="SEG",
        SegmentSequence=pydicom.Sequence(segments),
        PerFrameFunctionalGroupsSequence=pydicom.Sequence(groups),
        SharedFunctionalGroupsSequence=shared,
        **bits,
    )


@pytest.fixture
def image(stack):
    files = series(stack, origin=ORIGIN)
    return read_series(files.__getitem__, sorted(files))


@pytest.fixture
def masks():
    return np.random.default_rng(0).random((3, 5, 6)) > 0.5


def test_frames_find_their_slices_and_segments(image, masks):
    data = seg([(1, 2, masks[0]), (2, 2, masks[1]), (1, 0, masks[2])])
    found = read_seg(data, "seg.dcm", image)
    assert list(found) == ["liver", "tumour"]
    assert_array_equal(found["liver"][:, :, 2].T, masks[0])
    assert_array_equal(found["tumour"][:, :, 2].T, masks[1])
    assert_array_equal(found["liver"][:, :, 0].T, masks[2])
    assert not found["liver"][:, :, [1, 3]].any()


def test_a_single_frame_is_a_segmentation_too(image, masks):
    found = read_seg(seg([(2, 3, masks[0])]), "seg.dcm", image)
    assert_array_equal(found["tumour"][:, :, 3].T, masks[0])


def test_fractions_count_from_half_on(image):
    values = np.zeros((5, 6))
    values[0, :3] = 99, 100, 200
    found = read_seg(seg([(1, 0, values), (1, 1, values * 0)], top=200), "seg.dcm", image)
    assert found["liver"][:3, 0, 0].tolist() == [False, True, True]


@pytest.mark.parametrize(
    "change", [{"origin": (-10, -20, 32)}, {"spacing": (2, 2)}, {"origin": (0, 0, 400)}]
)
def test_frames_beside_the_image_are_refused(change, image, masks):
    data = seg([(1, 0, masks[0]), (1, 1, masks[1])], **change)
    with pytest.raises(ValueError, match=r"frames of seg\.dcm in the slices of 00\.dcm"):
        read_seg(data, "seg.dcm", image)


def test_another_size_is_refused(image, masks):
    with pytest.raises(ValueError, match=r"got one of \(4, 6\)"):
        read_seg(seg([(1, 0, masks[0][:4]), (1, 1, masks[1][:4])]), "seg.dcm", image)


def test_what_lacks_places_is_refused(image, stack, masks):
    with pytest.raises(ValueError, match=r"complete DICOM segmentation in plain\.dcm"):
        read_seg(series(stack)["00.dcm"], "plain.dcm", image)
    with pytest.raises(ValueError, match=r"positions in the image of seg\.dcm"):
        read_seg(seg([(1, 0, masks[0])]), "seg.dcm", replace(image, affine=None))
