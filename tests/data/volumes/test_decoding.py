"""Compressed DICOM files of every kind, made by other people's encoders or from pydicom's tests."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import (
    JPEG2000,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from palpate.data.volumes import read_series

from .conftest import dicom, pydicom

sitk = pytest.importorskip("SimpleITK")


def decoder_of(module):
    """Skip, and say so, where the package that decodes is missing."""
    return pytest.importorskip(module, reason=f"the decoder {module} is not installed")


def read(data, name="a.dcm"):
    return read_series({name: data}.__getitem__, [name]).voxels


def of_pydicom(name):
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"this pydicom comes without {name}")
    return Path(path).read_bytes()


@pytest.fixture
def scan():
    """12 bits in 16, as CT has them, smooth enough to compress."""
    rows, columns = np.mgrid[:40, :36]
    return (2000 + 1500 * np.sin(rows / 9) + 400 * np.cos(columns / 7)).astype(np.uint16)


def packed(pixels, syntax, **options):
    """The bytes of a file whose pixels are compressed by an encoder of pydicom."""
    dataset = pydicom.dcmread(io.BytesIO(dicom(pixels, BitsStored=12, HighBit=11)))
    dataset.compress(syntax, **options)
    return written(dataset)


def written(dataset):
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEG2000, RLELossless])
def test_jpeg_2000_and_rle(syntax, scan):
    decoder_of("openjpeg")
    quality = {"j2k_psnr": [80]} if syntax == JPEG2000 else {}
    voxels = read(packed(scan, syntax, **quality))[:, :, 0].T
    largest = 4 if syntax == JPEG2000 else 0  # of 4095
    assert np.abs(voxels.astype(int) - scan).max() <= largest


def test_lossless_jpeg(scan, tmp_path):
    decoder_of("libjpeg")
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(tmp_path / "a.dcm"))
    writer.SetCompressor("JPEG")
    writer.UseCompressionOn()
    writer.Execute(sitk.GetImageFromArray(scan))
    data = (tmp_path / "a.dcm").read_bytes()
    assert syntax_of(data) == JPEGLosslessSV1
    assert_array_equal(read(data)[:, :, 0].T, scan)


def syntax_of(data):
    return pydicom.dcmread(io.BytesIO(data)).file_meta.TransferSyntaxUID


def test_baseline_jpeg_in_colour(scan):
    shades = (scan >> 4).astype(np.uint8)
    colours = np.stack([shades, shades[::-1], 255 - shades], axis=-1)
    stream = io.BytesIO()
    Image.fromarray(colours).save(stream, "JPEG", quality=95, subsampling=0)
    dataset = pydicom.dcmread(io.BytesIO(dicom(colours)))
    dataset.PixelData = encapsulate([stream.getvalue()])
    dataset["PixelData"].VR = "OB"
    dataset.PhotometricInterpretation = "YBR_FULL"
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    voxels = read(written(dataset))[:, :, 0].transpose(1, 0, 2)
    assert np.abs(voxels.astype(int) - colours).max() <= 12


@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        ("JPGExtended.dcm", JPEGExtended12Bit),
        ("MR_small_jpeg_ls_lossless.dcm", JPEGLSLossless),
        ("JPEGLSNearLossless_16.dcm", JPEGLSNearLossless),
    ],
)
def test_twelve_bits_and_jpeg_ls_as_simpleitk_reads_them(name, syntax, tmp_path):
    decoder_of("libjpeg")
    data = of_pydicom(name)
    assert syntax_of(data) == syntax
    (tmp_path / name).write_bytes(data)
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name)))
    ours = read(data, name)[:, :, 0].T
    assert ours.max() > 255  # not cut to 8 bits
    assert np.abs(ours.astype(int) - theirs[0]).max() <= 1  # of rounding


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("MR_small_jpeg_ls_lossless.dcm", "pylibjpeg-libjpeg"),
        ("MR_small_jp2klossless.dcm", "pylibjpeg-openjpeg"),
    ],
)
def test_a_missing_decoder_is_named_with_its_package(name, packages, monkeypatch):
    data = of_pydicom(name)
    monkeypatch.setattr(get_decoder(syntax_of(data)), "_available", {})
    module = packages.removeprefix("pylibjpeg-")
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(RuntimeError, match=rf"to decode {name} \(JPEG.*pip install .*{packages}"):
        read(data, name)


def test_a_damaged_stream_is_told_from_a_missing_decoder():
    decoder_of("libjpeg")
    data = of_pydicom("MR_small_jpeg_ls_lossless.dcm")
    with pytest.raises(ValueError, match=r"readable DICOM image in a\.dcm, but: "):
        read(data.replace(b"\xff\xd8\xff", b"\0\0\0"))  # where the JPEG begins
