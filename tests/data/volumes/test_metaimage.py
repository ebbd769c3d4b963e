import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from palpate.data.volumes import read_metaimage, read_nifti

sitk = pytest.importorskip("SimpleITK")


@pytest.fixture
def image():
    """Turned by 90 degrees about the vertical, off the origin."""
    made = sitk.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(4, 3, 2))
    made.SetSpacing((0.308, 0.154, 1.5))
    made.SetOrigin((1, -2, 3))
    made.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))
    return made


def reader(folder):
    return lambda name: (folder / name).read_bytes()


@pytest.mark.parametrize("name", ["a.mhd", "a.mha"])
@pytest.mark.parametrize("packed", [False, True])
def test_reads_what_simpleitk_writes(name, packed, image, tmp_path):
    sitk.WriteImage(image, str(tmp_path / name), packed)
    volume = read_metaimage(reader(tmp_path), name)
    assert_array_equal(volume.voxels, sitk.GetArrayFromImage(image).T)


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int32", "float32", "float64"])
def test_types_are_kept(kind, tmp_path):
    values = np.arange(6).reshape(1, 2, 3).astype(kind)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "a.mhd"))
    voxels = read_metaimage(reader(tmp_path), "a.mhd").voxels
    assert voxels.dtype == kind
    assert_array_equal(voxels, values.T)


def test_lies_where_the_same_image_as_nifti_lies(image, tmp_path):
    sitk.WriteImage(image, str(tmp_path / "a.mhd"))
    sitk.WriteImage(image, str(tmp_path / "a.nii"))
    mhd = read_metaimage(reader(tmp_path), "a.mhd")
    nii = read_nifti((tmp_path / "a.nii").read_bytes(), "a.nii")
    assert_array_equal(mhd.voxels, nii.voxels)
    assert_allclose(mhd.affine, nii.affine, atol=1e-5)


def test_two_dimensions_and_colour(tmp_path):
    colour = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    sitk.WriteImage(sitk.GetImageFromArray(colour, isVector=True), str(tmp_path / "a.mhd"))
    voxels = read_metaimage(reader(tmp_path), "a.mhd").voxels
    assert voxels.shape == (3, 2, 1, 3)
    assert_array_equal(voxels[:, :, 0].transpose(1, 0, 2), colour)


def header(**changes):
    fields = {
        "ObjectType": "Image",
        "NDims": "2",
        "DimSize": "2 3",
        "ElementType": "MET_UCHAR",
    } | changes
    fields["ElementDataFile"] = fields.pop("ElementDataFile", "a.raw")  # ends the header
    return "".join(f"{key} = {value}\n" for key, value in fields.items() if value).encode()


def read(head, raw=bytes(6)):
    return read_metaimage({"x/a.mhd": head, "x/a.raw": raw}.__getitem__, "x/a.mhd")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ElementDataFile": "../../etc/passwd"}, "in one file beside it"),
        ({"ElementDataFile": "/etc/passwd"}, "in one file beside it"),
        ({"ElementDataFile": "c:\\a.raw"}, "in one file beside it"),
        ({"ElementDataFile": "LIST"}, "it has no 'x/LIST'"),
        ({"ElementDataFile": None}, "ends without ElementDataFile"),
        ({"DimSize": "2 300000000 90"}, "its header announces"),
        ({"DimSize": "2 0"}, "its header announces"),
        ({"DimSize": "2 4"}, "announces 8 bytes of data and there are 6"),
        ({"DimSize": "2"}, "2 to 4 dimensions"),
        ({"DimSize": "2 3 4 5 6"}, "2 to 4 dimensions"),
        ({"DimSize": None}, "it has no 'DimSize'"),
        ({"ElementType": "MET_STRING"}, "expected an ElementType among"),
        ({"CompressedData": "True"}, "Error -3 while decompressing"),
    ],
)
def test_what_is_wrong_is_told(changes, message):
    with pytest.raises(ValueError, match=rf"complete MetaImage in x/a\.mhd, but: .*{message}"):
        read(header(**changes))


@pytest.mark.parametrize(("told", "before"), [("5", b"start"), ("-1", b"of any length")])
def test_a_header_before_the_data_is_no_data(told, before, tmp_path):
    header = f"NDims = 2\nDimSize = 3 2\nElementType = MET_UCHAR\nHeaderSize = {told}\n"
    (tmp_path / "a.mhd").write_text(f"{header}ElementDataFile = a.raw\n")
    (tmp_path / "a.raw").write_bytes(before + bytes(range(6)))
    voxels = read_metaimage(reader(tmp_path), "a.mhd").voxels
    assert_array_equal(voxels[:, :, 0].T, np.arange(6).reshape(2, 3))
    (tmp_path / "a.mhd").write_text(f"{header}HeaderSize = -2\nElementDataFile = a.raw\n")
    with pytest.raises(ValueError, match=r"a HeaderSize of -1 to .*got -2"):
        read_metaimage(reader(tmp_path), "a.mhd")


def test_bytes_that_are_no_header_are_refused():
    with pytest.raises(ValueError, match="complete MetaImage"):
        read(b"\0" * 1000)


def test_byte_order_is_respected():
    head = header(ElementType="MET_USHORT", DimSize="2 1", BinaryDataByteOrderMSB="True")
    assert read(head, b"\1\0\0\2").voxels.ravel().tolist() == [256, 2]
