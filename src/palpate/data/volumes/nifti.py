"""NIfTI and MGH volumes, read with nibabel."""

import gzip
import io
import zlib
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palpate.data.reading.optional import needed
from palpate.data.volumes.volume import Volume

_HEADER = 1024  # bytes; more than the header of either version
_LARGEST = 8 << 30  # bytes


def read_nifti(data: bytes, name: str) -> Volume:
    """Read a volume from a ``.nii`` or ``.nii.gz`` file, with values scaled as in its header.

    Axes of length 1 beyond the third are dropped; a single slice gets a third axis. Channels or
    points in time are a fourth axis.

    Args:
        data: The bytes of the file, compressed or not.
        name: Name of the file, for errors.

    Returns:
        The volume; its affine is None if the header has neither sform nor qform.

    Raises:
        ValueError: If the file is not a NIfTI of two to four dimensions, or is truncated.
        RuntimeError: If nibabel is not installed.
    """
    nibabel = needed("nibabel")
    try:
        plain = _unzipped(data, partial(_announced, nibabel))
        image = _kind(nibabel, plain).from_bytes(plain)
        voxels = np.asarray(image.dataobj)
    except MemoryError:
        raise
    except Exception as error:  # nibabel raises many types, some of them its own
        raise ValueError(
            f"Expected a complete NIfTI in {name}, but: {error}. Download or export it again."
        ) from error
    header = image.header
    placed = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    affine = np.asarray(image.affine, dtype=np.float64) if placed else None
    colours = voxels.dtype.names is not None
    axes = _spatial(voxels, name)
    return Volume(name, axes, affine, has_channels=axes.ndim == 4 and not colours)


def read_mgh(data: bytes, name: str) -> Volume:
    """Read a volume of FreeSurfer from a ``.mgz`` or ``.mgh`` file.

    Args:
        data: The bytes of the file, compressed or not.
        name: Name of the file, for errors.

    Returns:
        The volume; its affine is None if the header has no orientation.

    Raises:
        ValueError: If the file is not an MGH volume, or is truncated.
        RuntimeError: If nibabel is not installed.
    """
    nibabel = needed("nibabel")
    try:
        image = nibabel.MGHImage.from_bytes(_unzipped(data, partial(_announced_mgh, nibabel)))
        voxels = np.asarray(image.dataobj)
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(
            f"Expected a complete MGH volume in {name}, but: {error}. Export it again."
        ) from error
    placed = int(image.header["goodRASFlag"]) > 0
    affine = np.asarray(image.affine, dtype=np.float64) if placed else None
    axes = _spatial(voxels, name)
    return Volume(name, axes, affine, has_channels=axes.ndim == 4)


def _unzipped(data: bytes, announced: Callable[[bytes], int]) -> bytes:
    """The decompressed bytes, at most as many as the header announces (no decompression bombs)."""
    if not data.startswith(b"\x1f\x8b"):
        _refuse_short(announced(data), len(data))
        return data
    with gzip.open(io.BytesIO(data)) as packed:
        try:
            start = packed.read(_HEADER)
            wanted = announced(start)
            plain = start + packed.read(max(0, wanted - len(start)))
            packed.read(1)  # reaches the end of the stream, where gzip verifies the checksum
        except (EOFError, zlib.error) as error:
            raise ValueError(f"it ends too soon or is damaged ({error})") from error
    _refuse_short(wanted, len(plain))
    return plain


def _refuse_short(wanted: int, found: int) -> None:
    if found < wanted:
        raise ValueError(f"its header announces {wanted} bytes and there are {found}")


def _announced(nibabel: Any, start: bytes) -> int:
    """Size of the file in bytes according to its header."""
    header = _kind(nibabel, start).header_class.from_fileobj(io.BytesIO(start))
    return int(header["vox_offset"]) + _bytes_of_voxels(header)


def _announced_mgh(nibabel: Any, start: bytes) -> int:
    """Size of an MGH file in bytes according to its header."""
    if start[:4] != (1).to_bytes(4, "big"):  # the version of the format
        raise ValueError("it does not begin like one")
    header = nibabel.MGHImage.header_class.from_fileobj(io.BytesIO(start))
    return int(header.get_data_offset()) + _bytes_of_voxels(header)


def _bytes_of_voxels(header: Any) -> int:
    lengths = [int(length) for length in header.get_data_shape()]
    size = prod(lengths) * int(header.get_data_dtype().itemsize)
    if not lengths or min(lengths) < 1 or size > _LARGEST:
        raise ValueError(f"its header announces {lengths} voxels")
    return size


def _kind(nibabel: Any, start: bytes) -> Any:
    """Image class by the header size in the first four bytes, in either byte order."""
    sizes = {start[:4], start[3::-1]}
    if (540).to_bytes(4, "little") in sizes:
        return nibabel.Nifti2Image
    if (348).to_bytes(4, "little") in sizes:
        return nibabel.Nifti1Image
    raise ValueError("it does not begin like one")


def _spatial(voxels: NDArray[Any], name: str) -> NDArray[Any]:
    """Voxels with three spatial axes, and a fourth one for RGB or channels."""
    if voxels.dtype.names:
        if set(voxels.dtype.names) != {"R", "G", "B"}:
            raise ValueError(
                f"Expected grey values or RGB in {name}, got {voxels.dtype.names}. Convert it."
            )
        voxels = np.stack([voxels[channel] for channel in "RGB"], axis=-1)
        return _axes(voxels, name, 1, 3)
    if np.iscomplexobj(voxels):
        raise ValueError(f"Expected real values in {name}, got complex ones. Store the magnitude.")
    return _axes(voxels, name, 0, 4)


def _axes(voxels: NDArray[Any], name: str, colour: int, most: int) -> NDArray[Any]:
    shape, tail = voxels.shape[: voxels.ndim - colour], voxels.shape[voxels.ndim - colour :]
    # A vector at each voxel has its fourth axis, time, of length 1.
    kept = (*shape[:3], *(length for length in shape[3:] if length > 1))
    if not 2 <= len(kept) <= most:
        raise ValueError(
            f"Expected a volume of 2 to {most} dimensions in {name}, got {len(kept)} "
            f"({_times(kept)}). Split it into its volumes."
        )
    return voxels.reshape(*kept, *(1,) * (3 - len(kept)), *tail)


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
