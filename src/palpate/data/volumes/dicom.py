"""DICOM images and series, read with pydicom.

Stored values are rescaled by the slope and intercept of the file, or by its modality lookup table.
The display window is the first one in the file, with its function (linear, linear exact or
sigmoid); a VOI lookup table in place of a window is applied. A series has one window, that of its
middle image, so that slices remain comparable. MONOCHROME1 is marked as inverted. Palettes and YBR
become RGB. Only pixels, geometry and window are used, no patient data.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palpate.data.reading.optional import needed
from palpate.data.volumes.decoding import MissingDecoder, decoded_pixels
from palpate.data.volumes.volume import Volume
from palpate.data.volumes.windowing import Window

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_UNEVEN = 0.2  # largest deviation from the median slice distance, as a fraction of it


def is_dicom(start: bytes) -> bool:
    """Whether a file begins with a DICOM preamble of 128 bytes and the prefix ``DICM``."""
    return start[128:132] == b"DICM"


def read_dataset(data: bytes, name: str, *, pixels: bool = True) -> Any:
    """Parse a DICOM file.

    Args:
        data: The bytes of the file.
        name: Name of the file, for errors.
        pixels: Whether to read the pixels; without them the header is read faster.

    Returns:
        The ``pydicom.Dataset``.

    Raises:
        ValueError: If the file is not a DICOM file or is damaged.
        RuntimeError: If pydicom is not installed.
    """
    pydicom = needed("pydicom")
    if not is_dicom(data):
        raise ValueError(
            f"Expected a DICOM file in {name}, but it does not begin like one. Export it again."
        )
    try:
        return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=not pixels)
    except Exception as error:  # pydicom does not wrap the errors of its parsers
        raise ValueError(
            f"Expected a DICOM file in {name}, but: {error}. Export it again."
        ) from error


def read_series(read: Callable[[str], bytes], names: Sequence[str]) -> Volume:
    """Read a series as a volume, with images ordered by position.

    Args:
        read: Returns the bytes of a file, given its name.
        names: Files of one series, in any order; a single file may have several frames.

    Returns:
        The volume; its affine is None if the files have no positions.

    Raises:
        ValueError: If a file cannot be read, or the images are not one evenly spaced stack.
        RuntimeError: If pydicom is not installed.
    """
    images = [image for name in names for image in _images(read_dataset(read(name), name), name)]
    shapes = {image.pixels.shape for image in images}
    if len(shapes) != 1:
        raise ValueError(
            f"Expected images of one size in the series of {names[0]}, got "
            f"{sorted(shape[:2] for shape in shapes)} (rows, columns). Keep different series in "
            "different folders."
        )
    images = _in_order(images, names[0])
    stack = np.stack([image.pixels for image in images])
    middle = images[len(images) // 2]
    return Volume(
        names[0],
        stack.transpose(2, 1, 0, *range(3, stack.ndim)),
        _affine(images, names[0]),
        middle.window,
        middle.inverted,
    )


class _Image:
    """One frame with its rescaled pixels, position and orientation."""

    def __init__(self, dataset: Any, frame: int, pixels: NDArray[Any]) -> None:
        self.number = float(dataset.get("InstanceNumber") or 0), frame
        self.inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
        position = _functional(dataset, frame, "PlanePositionSequence", "ImagePositionPatient")
        turn = _functional(dataset, frame, "PlaneOrientationSequence", "ImageOrientationPatient")
        spacing = _functional(dataset, frame, "PixelMeasuresSequence", "PixelSpacing")
        thickness = _functional(dataset, frame, "PixelMeasuresSequence", "SliceThickness")
        self.thickness = float(thickness or 1)
        self.place: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None
        self.place = None
        if position and turn and spacing:
            self.place = _floats(position), _floats(turn).reshape(2, 3), _floats(spacing)
        self.pixels, self.window = _rescaled(dataset, frame, pixels)

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit normal of the image plane, in LPS coordinates."""
        assert self.place is not None
        return np.cross(*self.place[1])

    @property
    def height(self) -> float:
        """Position along the normal, in mm."""
        assert self.place is not None
        return float(self.place[0] @ self.normal)


def _images(dataset: Any, name: str) -> Iterator[_Image]:
    if "PixelData" not in dataset:
        raise ValueError(
            f"Expected pixels in {name}, got a DICOM file without any "
            f"({dataset.get('Modality', 'unknown modality')}). Take it out of the folder."
        )
    try:
        pixels = _decoded(dataset, name)
        frames = pixels if int(dataset.get("NumberOfFrames") or 1) > 1 else pixels[None]
        for frame, values in enumerate(frames):
            yield _Image(dataset, frame, values)
    except MissingDecoder:
        raise
    except Exception as error:  # pydicom raises many types for damaged or unusual files
        raise ValueError(
            f"Expected a readable DICOM image in {name}, but: {error}. Export it again, without "
            "compression."
        ) from error


def _decoded(dataset: Any, name: str) -> NDArray[Any]:
    """Decoded pixels with axes (frames, rows, columns, colours), those that are present."""
    pixels = needed("pydicom.pixels")
    values = decoded_pixels(dataset, name)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colours: NDArray[Any] = pixels.apply_color_lut(values, dataset)
        return (colours >> 8).astype(np.uint8) if colours.dtype.itemsize > 1 else colours
    if int(dataset.SamplesPerPixel) == 3 and int(dataset.BitsAllocated) != 8:
        raise ValueError(f"expected colours of 8 bits, got {dataset.BitsAllocated}")
    return values


def _rescaled(dataset: Any, frame: int, values: NDArray[Any]) -> tuple[NDArray[Any], Window | None]:
    """Values in physical units, and the window to display them."""
    if values.ndim == 3:
        return values, None
    pixels = needed("pydicom.pixels")
    slope, intercept = (
        _functional(dataset, frame, "PixelValueTransformationSequence", field)
        for field in ("RescaleSlope", "RescaleIntercept")
    )
    if "ModalityLUTSequence" in dataset:
        values = pixels.apply_modality_lut(values, dataset)
    elif slope is not None or intercept is not None:
        exact = values * float(1 if slope is None else slope) + float(intercept or 0)
        values = exact.astype(np.float32)
    centre, width, curve = (
        _functional(dataset, frame, "FrameVOILUTSequence", field)
        for field in ("WindowCenter", "WindowWidth", "VOILUTFunction")
    )
    if centre is not None and width is not None:
        return values, Window(_first(centre), _first(width), curve or "LINEAR")
    if dataset.get("VOILUTSequence"):
        brightest = (1 << int(dataset.VOILUTSequence[0].LUTDescriptor[2])) - 1
        shown = pixels.apply_voi_lut(values.astype(np.int32), dataset)
        return shown, Window(brightest / 2, float(brightest))
    return values, None


def _functional(dataset: Any, frame: int, sequence: str, field: str) -> Any:
    """Value of a field for a frame, which may be in three places.

    These are, by precedence: functional groups of the frame, those shared by all frames, and the
    file itself (the only place in classic, single-frame DICOM).
    """
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    groups = [*per_frame[frame : frame + 1], *(dataset.get("SharedFunctionalGroupsSequence") or [])]
    for group in groups:
        for item in group.get(sequence) or []:
            if item.get(field) is not None:
                return item.get(field)
    return dataset.get(field)


def _first(value: Any) -> float:
    return float(value if isinstance(value, str | int | float) else next(iter(value)))


def _floats(values: Any) -> NDArray[np.float64]:
    numbers = np.array([float(value) for value in values])
    if not np.isfinite(numbers).all():
        raise ValueError(f"expected numbers for its place, got {list(values)}")
    return numbers


def _in_order(images: list[_Image], name: str) -> list[_Image]:
    """Images of a series from the lowest to the highest position along their normal."""
    if len(images) == 1:
        return images
    # Without positions the instance number is the best order there is.
    if any(image.place is None for image in images):
        return sorted(images, key=lambda image: image.number)
    normal = images[0].normal
    if any(np.abs(image.normal - normal).max() > 0.01 for image in images):
        raise ValueError(
            f"Expected parallel images in the series of {name}, got several orientations, as "
            "scouts have. Take these out of the folder."
        )
    return sorted(images, key=lambda image: image.height)


def _affine(images: list[_Image], name: str) -> NDArray[np.float64] | None:
    """Affine matrix from voxel indices to RAS millimetres; None without positions."""
    first, last = images[0], images[-1]
    if first.place is None or last.place is None or any(i.place is None for i in images):
        return None
    position, (along_row, along_column), (between_rows, between_columns) = first.place
    step = first.normal * first.thickness
    if len(images) > 1:
        _refuse_gaps(images, name)
        # From the positions: the slice thickness differs from their distance if there are gaps.
        step = (last.place[0] - position) / (len(images) - 1)
    affine = np.eye(4)
    turn = np.stack([along_row * between_columns, along_column * between_rows, step], axis=1)
    affine[:3, :3] = _LPS_TO_RAS @ turn
    affine[:3, 3] = _LPS_TO_RAS @ position
    return affine


def _refuse_gaps(images: list[_Image], name: str) -> None:
    gaps = np.array([after.height - before.height for before, after in pairwise(images)])
    usual = float(np.median(gaps))
    if usual <= 0 or np.abs(gaps - usual).max() > _UNEVEN * usual:
        raise ValueError(
            f"Expected evenly spaced images in the series of {name}, got {gaps.min():.2f} to "
            f"{gaps.max():.2f} mm between them (0: two in one place). Complete the series, or keep "
            "its phases in folders of their own."
        )
