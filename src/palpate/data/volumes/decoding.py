"""Decoding of the pixels of DICOM files, by the decoders that pydicom finds installed."""

from importlib.util import find_spec
from math import prod
from typing import Any

from numpy.typing import NDArray

from palpate.data.reading.optional import needed

_LARGEST = 8 << 30  # bytes; a damaged header must not exhaust the memory
# Transfer syntaxes begin with this root. Pillow, which is always installed, decodes every baseline
# JPEG (50), some JPEG 2000, and neither 12 bits nor lossless JPEG.
_ROOT = "1.2.840.10008.1.2.4."
_LIBJPEG = {"pylibjpeg": "pylibjpeg", "libjpeg": "pylibjpeg-libjpeg"}
_OPENJPEG = {"pylibjpeg": "pylibjpeg", "openjpeg": "pylibjpeg-openjpeg"}
_DECODERS = dict.fromkeys(("51", "57", "70", "80", "81"), _LIBJPEG) | dict.fromkeys(
    ("90", "91", "201", "202", "203"), _OPENJPEG
)


class MissingDecoder(RuntimeError):  # noqa: N818
    """The package that decodes a file is not installed."""


def decoded_pixels(dataset: Any, name: str) -> NDArray[Any]:
    """Decode the pixels of a DICOM file; YBR becomes RGB.

    Args:
        dataset: The ``pydicom.Dataset``.
        name: Name of the file, for errors.

    Returns:
        Pixels with axes (frames, rows, columns, colours), those that are present.

    Raises:
        MissingDecoder: If the package that decodes the file is not installed; names it.
        Exception: Of many types, if the pixels are damaged or of an unknown kind.
    """
    pixels = needed("pydicom.pixels")
    sizes = ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "BitsAllocated")
    if prod(int(dataset.get(size) or 1) for size in sizes) / 8 > _LARGEST:
        raise ValueError("it announces more pixels than palpate reads")
    try:
        values: NDArray[Any] = pixels.pixel_array(dataset)
    except Exception as error:
        _refuse_without_decoder(dataset, name, error)
        raise
    return values


def _refuse_without_decoder(dataset: Any, name: str, error: Exception) -> None:
    """Raise an error if a package is missing that might have decoded the pixels."""
    syntax = dataset.file_meta.TransferSyntaxUID
    modules = _DECODERS.get(syntax.removeprefix(_ROOT), {}) if syntax.startswith(_ROOT) else {}
    missing = [package for module, package in modules.items() if not _installed(module)]
    if not missing:
        return
    raise MissingDecoder(
        f"Expected {' and '.join(missing)} to be installed, to decode {name} ({syntax.name}). Run: "
        f"pip install {' '.join(missing)}"
    ) from error


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # the module was disabled
        return False
