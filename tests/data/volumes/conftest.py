"""Files of medical formats, written by the libraries that other people write them with."""

import gzip
import io

import numpy as np
import pytest

nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")

from pydicom.dataset import FileDataset, FileMetaDataset  # noqa: E402
from pydicom.uid import ExplicitVRLittleEndian, generate_uid  # noqa: E402

CT = "1.2.840.10008.5.1.4.1.1.2"
US = "1.2.840.10008.5.1.4.1.1.3.1"
AXIAL = (1, 0, 0, 0, 1, 0)


def nifti(voxels, affine=None, *, packed=False, code=1, slope=None):
    """Bytes of a NIfTI file."""
    image = nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine)
    if slope is not None:
        image.header.set_slope_inter(*slope)
    data = bytearray(image.to_bytes())
    data[252:256] = np.array([code, code], dtype="<i2").tobytes()  # nibabel insists on its own
    return gzip.compress(bytes(data)) if packed else bytes(data)


def dicom(pixels, **elements):
    """Bytes of a DICOM file; ``pixels`` (rows, columns), frames before them, colours behind."""
    elements = {"SOPClassUID": CT, "PatientID": "SECRET-17", "PatientName": "DOE^JANE"} | elements
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = elements["SOPClassUID"]
    meta.MediaStorageSOPInstanceUID = elements.get("SOPInstanceUID", generate_uid())
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("memory", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.SamplesPerPixel = 3 if pixels.ndim > 2 and pixels.shape[-1] == 3 else 1
    shape = pixels.shape[:-1] if dataset.SamplesPerPixel == 3 else pixels.shape
    dataset.Rows, dataset.Columns = shape[-2:]
    if len(shape) == 3:
        dataset.NumberOfFrames = shape[0]
    if dataset.SamplesPerPixel == 3:
        dataset.PlanarConfiguration = 0
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PhotometricInterpretation = "RGB" if dataset.SamplesPerPixel == 3 else "MONOCHROME2"
    dataset.PixelData = np.ascontiguousarray(pixels).tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def series(stack, *, spacing=(2.0, 3.0), step=5.0, turn=AXIAL, origin=(-10, -20, 30), **elements):
    """A file for each slice of a stack (slices, rows, columns), by name, in a mixed order."""
    elements = {"SeriesInstanceUID": generate_uid(), "Modality": "CT"} | elements
    normal = np.cross(turn[:3], turn[3:])
    files = {}
    for k, pixels in enumerate(stack):
        position = [float(v) for v in np.array(origin) + k * step * normal]
        files[f"{(k * 7) % 11:02d}.dcm"] = dicom(
            pixels,
            ImagePositionPatient=position,
            ImageOrientationPatient=list(turn),
            PixelSpacing=list(spacing),
            SliceThickness=step,
            InstanceNumber=len(stack) - k,
            **elements,
        )
    return files


@pytest.fixture
def stack():
    """(slices, rows, columns) = (4, 5, 6), every voxel another value."""
    return np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
