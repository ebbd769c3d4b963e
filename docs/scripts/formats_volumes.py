"""Kinds of volumes: a scan with a liver and a tumour, in the formats of medical imaging."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from formats_kind import Kind
from numpy.typing import NDArray
from PIL import Image

from palpate.data import load_data
from palpate.data.prepare import prepare
from palpate.data.volumes import read_series

TWELVE_BITS, JPEG_LS = "JPGExtended.dcm", "MR_small_jpeg_ls_lossless.dcm"  # pydicom's
AFFINE = np.diag([-1.0, -1.0, 5.0, 1.0])  # as stored is as displayed
_SHAPE, _SLICE = (40, 36, 3), 1  # columns, rows, slices; the slice with most of both structures
_CT = "1.2.840.10008.5.1.4.1.1.2"
_NEAR = 2  # grey levels by which a lossy format may differ
_OPTIONS = {"labels": "1=liver,2=tumour", "window": "full"}


def _labels() -> NDArray[np.uint8]:
    drawn = np.zeros(_SHAPE, np.uint8)
    drawn[4:18, 6:22, _SLICE], drawn[24:34, 12:24, _SLICE] = 1, 2
    return drawn


def _scan() -> NDArray[np.uint8]:
    """Smooth, from 0 to 255, so that every format keeps it and the window ``full`` shows it."""
    columns, rows, slices = np.mgrid[: _SHAPE[0], : _SHAPE[1], : _SHAPE[2]]
    wave = np.sin(columns / 9) + np.cos(rows / 7) + 0.1 * slices
    low, high = wave[..., _SLICE].min(), wave[..., _SLICE].max()
    return np.rint((wave.clip(low, high) - low) / (high - low) * 255).astype(np.uint8)


LABELS, SCAN = _labels(), _scan()


def _nifti(
    name: str, voxels: NDArray[Any], affine: NDArray[Any] = AFFINE, slope: float = 1.0
) -> None:
    import nibabel

    image = nibabel.Nifti1Image(voxels, affine)
    if slope != 1:
        image.header.set_slope_inter(slope, 0)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, name)


def _pair(
    scan: NDArray[Any] = SCAN,
    mask: NDArray[Any] = LABELS,
    affine: NDArray[Any] = AFFINE,
    slope: float = 1.0,
) -> None:
    _nifti("in/images/a.nii.gz", scan)
    _nifti("in/masks/a.nii.gz", mask, affine, slope)


def _meta_image() -> None:
    """The header and voxels of MetaImage in one file, and the mask beside it."""
    for folder, voxels in (("images", SCAN), ("masks", LABELS)):
        header = (
            f"ObjectType = Image\nNDims = 3\nDimSize = {' '.join(map(str, _SHAPE))}\n"
            "ElementType = MET_UCHAR\nElementSpacing = 1 1 5\nElementDataFile = LOCAL\n"
        )
        Path("in", folder).mkdir(parents=True)
        Path("in", folder, "a.mha").write_bytes(header.encode() + voxels.tobytes(order="F"))


def _with_nan() -> NDArray[np.float32]:
    voxels = SCAN.astype(np.float32)
    voxels[..., _SLICE][SCAN[..., _SLICE] == 0] = np.nan
    return voxels


def _one_hot() -> NDArray[np.uint8]:
    return np.equal.outer(LABELS, range(3)).astype(np.uint8)


def _dicom(pixels: NDArray[Any], bits: int) -> Any:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, _CT
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset("memory", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = _CT, "1.2.3"
    dataset.SeriesInstanceUID, dataset.PatientID, dataset.Modality = "1.2.4", "p", "CT"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored = pixels.dtype.itemsize * 8, bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0] * 3, [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [1, 1], 5
    dataset.PixelData = np.ascontiguousarray(pixels).tobytes()
    return dataset


def _write_dicom(kind: Callable[[NDArray[np.uint8]], Any]) -> None:
    """One slice in a format of DICOM, and its mask as NIfTI on the same grid."""
    stream = io.BytesIO()
    kind(SCAN[..., _SLICE].T).save_as(stream, enforce_file_format=True)
    _series(stream.getvalue(), LABELS[..., _SLICE : _SLICE + 1])


def _series(data: bytes, mask: NDArray[np.uint8]) -> None:
    import nibabel

    Path("in/ct").mkdir(parents=True)
    Path("in/ct/a.dcm").write_bytes(data)
    affine = read_series({"a": data}.__getitem__, ["a"]).affine
    placed = nibabel.Nifti1Image(mask, affine)
    nibabel.save(placed if affine is None else nibabel.as_closest_canonical(placed), "in/mask.nii")


def _of_pydicom(name: str) -> bytes:
    """A file that pydicom's own tests read; it comes with pydicom."""
    from pydicom.data import get_testdata_file

    return Path(str(get_testdata_file(name, download=False))).read_bytes()


def _write_of_pydicom(name: str) -> None:
    data = _of_pydicom(name)
    columns, rows, _ = read_series({"a": data}.__getitem__, ["a"]).shape
    _series(data, _outlined(columns, rows))


def _outlined(columns: int, rows: int) -> NDArray[np.uint8]:
    """Two rectangles in one slice."""
    drawn = np.zeros((columns, rows, 1), np.uint8)
    drawn[4:18, 6:22], drawn[24:34, 12:24] = 1, 2
    return drawn


def _read_of_pydicom(reference: Callable[[], NDArray[Any]], **options: str) -> str:
    pixels = reference().astype(np.float64)
    low, high = pixels.min(), pixels.max()
    shown = np.rint((pixels - low) / (high - low) * 255)
    return _read(shown, _outlined(*pixels.T.shape)[..., 0].T, **options)


def _uncompressed() -> NDArray[Any]:
    """The pixels of the file with JPEG-LS, as pydicom has them without compression."""
    import pydicom

    pixels: NDArray[Any] = pydicom.dcmread(io.BytesIO(_of_pydicom("MR_small.dcm"))).pixel_array
    return pixels


def _of_simpleitk() -> NDArray[Any]:
    """The pixels of the JPEG with 12 bits, as SimpleITK decodes them."""
    import SimpleITK

    Path("other.dcm").write_bytes(_of_pydicom(TWELVE_BITS))
    pixels: NDArray[Any] = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage("other.dcm"))[0]
    return pixels


def _plain(pixels: NDArray[np.uint8]) -> Any:
    return _dicom(pixels.astype(np.uint16) * 16, 12)


def _baseline(pixels: NDArray[np.uint8]) -> Any:
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit

    dataset, stream = _dicom(pixels, 8), io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    dataset.PixelData = encapsulate([stream.getvalue()])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    return dataset


def _jpeg_2000(pixels: NDArray[np.uint8]) -> Any:
    from pydicom.uid import JPEG2000Lossless

    dataset = _plain(pixels)
    dataset.compress(JPEG2000Lossless)
    return dataset


def _read(
    scan: NDArray[Any] = SCAN[..., _SLICE].T,
    labels: NDArray[Any] = LABELS[..., _SLICE].T,
    **options: str,
) -> str:
    """Prepare the folder and load it; what its samples are, compared with what was written."""
    with TemporaryDirectory() as out:
        made = prepare("mask2d", "in", out, options=_OPTIONS | options, split_as="test", workers=1)
        samples = list(load_data("folder", made, split="test"))
    masks = {s.case.structure: s.mask[0].numpy() for s in samples}
    drawn = {name: labels == number for number, name in ((1, "liver"), (2, "tumour"))}
    right = masks.keys() == drawn.keys() and all((masks[n] == drawn[n]).all() for n in drawn)
    gap = np.abs(np.rint(samples[0].image[0].numpy() * 255) - scan).max()
    if gap == 0 and right:
        return "image and masks as written"
    shown = "as written" if gap == 0 else f"within {_NEAR} grey levels" if gap <= _NEAR else "wrong"
    return f"image {shown}, masks {'as written' if right else 'wrong'}"


def _kind(name: str, write: Callable[[], None], *needs: str, **options: str) -> Kind:
    options = {option.replace("_", "-"): value for option, value in options.items()}
    return Kind(name, write, _read, options, ("nibabel", *needs), "{} {}")


def _of_dicom(name: str, kind: Callable[[NDArray[np.uint8]], Any], *needs: str) -> Kind:
    return _kind(f"DICOM, {name}", partial(_write_dicom, kind), "pydicom", *needs)


VOLUMES = (
    _kind("NIfTI, three axes", _pair),
    _kind("NIfTI image with a fourth axis of channels",
          lambda: _pair(np.stack([SCAN, SCAN[::-1]], -1)), channel="0"),
    _kind("NIfTI mask with a channel for each structure (one-hot)",
          lambda: _pair(mask=_one_hot())),
    _kind("NIfTI image with NaN", lambda: _pair(_with_nan()), nan="background"),
    _kind("NIfTI labels scaled to 1.000015", lambda: _pair(slope=1.000015)),
    _kind("NIfTI mask that lost its affine", lambda: _pair(affine=np.eye(4)), trust_shape="yes"),
    _kind("MetaImage, image and mask", _meta_image),
    _of_dicom("12 bits, uncompressed", _plain),
    _of_dicom("JPEG, 8 bits", _baseline),
    _of_dicom("JPEG 2000, 12 bits", _jpeg_2000, "openjpeg"),
    Kind(f"DICOM, JPEG-LS: pydicom's `{JPEG_LS}`", partial(_write_of_pydicom, JPEG_LS),
         partial(_read_of_pydicom, _uncompressed), needs=("nibabel", "pydicom", "libjpeg")),
    Kind(f"DICOM, JPEG with 12 bits: pydicom's `{TWELVE_BITS}`",
         partial(_write_of_pydicom, TWELVE_BITS), partial(_read_of_pydicom, _of_simpleitk),
         needs=("nibabel", "pydicom", "libjpeg", "SimpleITK")),
)  # fmt: skip
