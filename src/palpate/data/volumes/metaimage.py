"""MetaImage volumes (``.mhd`` with a separate data file, ``.mha`` with the data inside).

SimpleITK gives the same voxels, but it needs 264 MB, reads only from disk (not from an archive) and
follows ``ElementDataFile`` to files outside the folder of the header.
"""

import zlib
from collections.abc import Callable, Mapping
from math import prod
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from palpate.data.volumes.volume import Volume

_TYPES = {
    "MET_UCHAR": "u1",
    "MET_CHAR": "i1",
    "MET_USHORT": "u2",
    "MET_SHORT": "i2",
    "MET_UINT": "u4",
    "MET_INT": "i4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_LONGEST_HEADER = 64 << 10  # bytes of a line
_LARGEST = 8 << 30  # bytes; a damaged header must not exhaust the memory
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def read_metaimage(read: Callable[[str], bytes], name: str, label: str | None = None) -> Volume:
    """Read a volume from its header and data.

    Args:
        read: Returns the bytes of a file, given its name; called for ``name`` and for the data
            file, which must be in the same folder.
        name: Header file, or the ``.mha`` file that contains header and data.
        label: Name of the file in errors; by default ``name``.

    Returns:
        The volume; a two-dimensional image gets a third axis of length 1. Channels or points in
        time are a fourth axis.

    Raises:
        ValueError: If the file is not a MetaImage of two to four dimensions, or its data are
            missing.
    """
    data = read(name)
    label = name if label is None else label
    try:
        fields, start = _header(data)
        shape, channels = _shape(fields), int(fields.get("ElementNumberOfChannels", "1"))
        kind = np.dtype(_order(fields) + _type(fields))
        wanted = prod(shape) * channels * kind.itemsize
        if min(shape) < 1 or wanted > _LARGEST or channels < 1:
            raise ValueError(f"its header announces {shape} elements of {channels} channels")
        raw = _data(read, fields, data[start:], name, wanted)
        voxels = np.frombuffer(raw, kind).reshape(*reversed(shape), *(channels,) * (channels > 1))
        affine = _affine(fields, len(shape))
    except (ValueError, KeyError, zlib.error) as error:
        cause = f"it has no {error}" if isinstance(error, KeyError) else error
        raise ValueError(
            f"Expected a complete MetaImage in {label}, but: {cause}. Download or export it again."
        ) from error
    # The file stores the first axis fastest, which is the last one of a C-ordered array.
    spatial = tuple(reversed(range(len(shape))))
    voxels = voxels.astype(kind.newbyteorder("=")).transpose(
        *spatial, *range(len(shape), voxels.ndim)
    )
    if len(shape) == 2:
        voxels = voxels[:, :, None]
    if voxels.ndim > 4:
        raise ValueError(f"Expected channels or points in time in {label}, got both. Split it.")
    colour = channels == 3 and kind == np.uint8
    return Volume(label, voxels, affine, has_channels=voxels.ndim == 4 and not colour)


def _header(data: bytes) -> tuple[dict[str, str], int]:
    """Header fields up to ``ElementDataFile``, and the length of the header in bytes."""
    fields: dict[str, str] = {}
    position = 0
    while "ElementDataFile" not in fields:
        end = data.find(b"\n", position, position + _LONGEST_HEADER)
        line = data[position:] if end < 0 else data[position:end]
        if end < 0 and len(line) > _LONGEST_HEADER:
            raise ValueError("it does not begin like one")
        key, found, value = line.decode("latin-1").partition("=")
        if not found or len(fields) > 200:
            raise ValueError("its header ends without ElementDataFile")
        fields[key.strip()] = value.strip()
        position = len(data) if end < 0 else end + 1
    return fields, position


def _shape(fields: Mapping[str, str]) -> tuple[int, ...]:
    shape = tuple(int(length) for length in fields["DimSize"].split())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in (2, 3, 4):
        raise ValueError(f"expected 2 to 4 dimensions, got {len(shape)}")
    return shape


def _type(fields: Mapping[str, str]) -> str:
    kind = fields["ElementType"].removesuffix("_ARRAY")
    if kind not in _TYPES:
        raise ValueError(f"expected an ElementType among {', '.join(_TYPES)}, got {kind}")
    return _TYPES[kind]


def _order(fields: Mapping[str, str]) -> str:
    big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False"))
    return ">" if big.lower() == "true" else "<"


def _data(
    read: Callable[[str], bytes], fields: Mapping[str, str], rest: bytes, name: str, wanted: int
) -> bytes:
    """The voxel bytes, decompressed and without the header of another format."""
    where = fields["ElementDataFile"]
    # A path in a downloaded header must not reach other files of the machine.
    if where.upper() == "LOCAL":
        raw = rest
    elif where != PurePosixPath(where).name or "\\" in where or where in ("", ".."):
        raise ValueError(f"expected its data in one file beside it, got ElementDataFile {where!r}")
    else:
        if where.endswith(".gz"):
            raise ValueError(f"expected {where} unpacked")
        try:
            raw = read(str(PurePosixPath(name).parent / where))
        except FileNotFoundError as error:
            raise ValueError(f"its data, {where}, are not beside it") from error
    raw = _behind(int(fields.get("HeaderSize", "0")), raw, wanted)
    if fields.get("CompressedData", "False").lower() == "true":
        raw = zlib.decompressobj().decompress(raw, wanted)  # at most as many bytes as announced
    if len(raw) < wanted:
        raise ValueError(f"its header announces {wanted} bytes of data and there are {len(raw)}")
    return raw[:wanted]


def _behind(header: int, raw: bytes, wanted: int) -> bytes:
    """Data after a foreign header of ``header`` bytes; -1 for the last ``wanted`` bytes."""
    if header < -1 or header > len(raw):
        raise ValueError(f"expected a HeaderSize of -1 to {len(raw)}, got {header}")
    return raw[max(0, len(raw) - wanted) :] if header == -1 else raw[header:]


def _affine(fields: Mapping[str, str], dimensions: int) -> NDArray[np.float64] | None:
    """Affine matrix to RAS millimetres (right, anterior, superior); MetaImage uses LPS."""
    spacing = _numbers(fields, ("ElementSpacing", "ElementSize"))
    if dimensions < 3 or spacing is None:
        return None
    turn = _numbers(fields, ("TransformMatrix", "Rotation", "Orientation"))
    offset = _numbers(fields, ("Offset", "Position", "Origin"))
    side = len(spacing)  # the axes of the file, trailing ones of length 1 included
    directions = np.eye(3) if turn is None else turn.reshape(side, side).T[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = _LPS_TO_RAS @ directions @ np.diag(spacing[:3])
    affine[:3, 3] = _LPS_TO_RAS @ (np.zeros(3) if offset is None else offset[:3])
    return affine


def _numbers(fields: Mapping[str, str], names: tuple[str, ...]) -> NDArray[np.float64] | None:
    for name in names:
        if name in fields:
            numbers = np.array(fields[name].split(), dtype=np.float64)
            if not np.isfinite(numbers).all():
                raise ValueError(f"expected numbers in {name}, got {fields[name]}")
            return numbers
    return None
