"""Volumes of a case: its image, its structures on the same grid, and slices of both."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from palpate.data.prepare.cases import CaseFiles
from palpate.data.prepare.source import Source
from palpate.data.volumes import (
    SEG,
    STRUCTURE_SET,
    Volume,
    channel_of,
    channels_of,
    check_finite,
    greys,
    on_grid_of,
    read_dataset,
    read_metaimage,
    read_mgh,
    read_nifti,
    read_seg,
    read_series,
    slices,
    whole_labels,
    window_from,
)


@dataclass(frozen=True)
class Reading:
    """How volumes are read; see the options of :mod:`palpate.data.prepare.mask2d`.

    Attributes:
        axis: Axis of the slices.
        window: Window of the grey values.
        names: Pairs of a label and its name.
        structure: Name of the structure if there is but one label without a name.
        ignored: Labels of voxels that count nowhere.
        channel: Channel of images with a fourth axis; None if they have none.
        nan_is_background: Whether NaN is background instead of an error.
        trust_shape: Whether headers of segmentations that do not fit are ignored.
    """

    axis: str
    window: str
    names: tuple[tuple[int, str], ...]
    structure: str
    ignored: tuple[int, ...]
    channel: int | None
    nan_is_background: bool
    trust_shape: bool


class Outlines(NamedTuple):
    """The structures of a case.

    Attributes:
        by_structure: The slices of an array (slices, rows, columns), and the value of the
            structure in it.
        background: Whether the first channel of the segmentation is the background; None if it has
            no channels.
        trusted: Whether the header of the segmentation did not fit and was ignored.
    """

    by_structure: dict[str, tuple[NDArray[Any], int]]
    background: bool | None
    trusted: bool


class _Labels(NamedTuple):
    """Labels on the grid of the image: one map, masks by label, or masks by name (DICOM)."""

    map: NDArray[Any] | None = None
    by_label: dict[int, NDArray[np.bool_]] | None = None
    by_name: dict[str, NDArray[np.bool_]] | None = None
    background: bool | None = None
    trusted: bool = False


def image_slice(
    source: Source, case: CaseFiles, reading: Reading, number: int
) -> NDArray[np.uint8]:
    """One slice of an image, ``(h, w, 3)`` in 0 to 255."""
    image, shades = _image(source, case, reading), _shades(source, case, reading)
    picture = slices(image, reading.axis, shades)[number]
    if picture.ndim == 3:
        return np.ascontiguousarray(picture)
    return np.repeat(picture[..., None], 3, axis=2)


def mask_slice(
    source: Source, case: CaseFiles, reading: Reading, structure: str, number: int
) -> NDArray[np.bool_]:
    """One slice of a structure, ``(h, w)``."""
    labels, value = outlines(source, case, reading).by_structure[structure]
    return np.asarray(labels[number] == value)


def ignored_slice(
    source: Source, case: CaseFiles, reading: Reading, number: int
) -> NDArray[np.bool_]:
    """The voxels of one slice that count nowhere, ``(h, w)``."""
    image, labels = _image(source, case, reading), _labels(source, case, reading).map
    assert labels is not None
    return np.isin(slices(image, reading.axis, labels)[number], reading.ignored)


def outlines(source: Source, case: CaseFiles, reading: Reading) -> Outlines:
    """The structures of a case, in slices.

    Raises:
        ValueError: If the image or the segmentation cannot be read, or they do not fit.
    """
    image, labels = _image(source, case, reading), _labels(source, case, reading)
    if reading.ignored and labels.map is None:
        raise ValueError(
            f"expected one map of labels in {source.label(case.masks[0])} for the option ignore, "
            "got a mask for each structure, which has no label for other pixels; leave ignore out, "
            "or store a map of labels"
        )
    found = {
        name: (slices(image, reading.axis, mask), 1)
        for name, mask in (labels.by_name or {}).items()
    }
    by_label: dict[int, tuple[NDArray[Any], int]] = {}
    if labels.map is not None:
        along = slices(image, reading.axis, labels.map)
        by_label = {value: (along, value) for value in _values(source, case, reading)}
    for value, mask in (labels.by_label or {}).items():
        by_label[value] = slices(image, reading.axis, mask), 1
    names = dict(reading.names)
    for value, outline in by_label.items():
        alone = len(by_label) == 1 and not names
        found[reading.structure if alone else names.get(value, f"label {value}")] = outline
    return Outlines(found, labels.background, labels.trusted)


@lru_cache(maxsize=2)
def _values(source: Source, case: CaseFiles, reading: Reading) -> tuple[int, ...]:
    """Values of a label map except those of the background and of ignored voxels."""
    labels = _labels(source, case, reading).map
    assert labels is not None
    left_out = (0, *reading.ignored)
    return tuple(int(value) for value in np.unique(labels) if value not in left_out)


@lru_cache(maxsize=2)
def _labels(source: Source, case: CaseFiles, reading: Reading) -> _Labels:
    image, first = _image(source, case, reading), case.masks[0]
    label = source.label(first)
    if len(case.masks) == 1 and case.masks_are_dicom:
        data = source.read(first)
        kind = str(read_dataset(data, label, pixels=False).get("SOPClassUID"))
        if kind == STRUCTURE_SET:
            raise ValueError(
                f"expected voxels in {label}, got contours (RTSTRUCT); convert them to a NIfTI or "
                "a DICOM segmentation"
            )
        if kind == SEG:
            return _Labels(by_name=dict(read_seg(data, label, image)))
    segmentation = _volume(source, case.masks, case.masks_are_dicom)
    if segmentation.voxels.ndim == 4 and not segmentation.has_channels:
        raise ValueError(
            f"expected labels or channels in {label}, got colours; store a label for each colour"
        )
    values, trusted = _placed(segmentation, image, reading.trust_shape)
    labels = whole_labels(values, label, nan_is_background=reading.nan_is_background)
    if labels.ndim == 3:
        return _Labels(map=labels, trusted=trusted)
    masks, background = channels_of(labels, label)
    return _Labels(by_label=masks, background=background, trusted=trusted)


def _placed(segmentation: Volume, image: Volume, trust_shape: bool) -> tuple[NDArray[Any], bool]:
    """Voxels of a segmentation on the grid of its image, and whether its header was ignored."""
    try:
        return on_grid_of(segmentation, image), False
    except ValueError as error:
        if segmentation.shape != image.shape:
            raise
        if trust_shape:
            return on_grid_of(segmentation, image, trust_shape=True), True
        raise ValueError(
            f"{error} If its voxels are in the order of the image and only the header is wrong, "
            "choose the option trust-shape yes."
        ) from error


@lru_cache(maxsize=2)
def _image(source: Source, case: CaseFiles, reading: Reading) -> Volume:
    volume = channel_of(_volume(source, case.images, case.images_are_dicom), reading.channel)
    try:
        check_finite(volume.voxels, nan_is_background=reading.nan_is_background)
    except ValueError as error:
        raise ValueError(f"{volume.name}: {error}.") from error
    return volume


@lru_cache(maxsize=2)
def _shades(source: Source, case: CaseFiles, reading: Reading) -> NDArray[Any]:
    """Grey values of a whole volume."""
    image = _image(source, case, reading)
    if image.voxels.ndim == 4:
        return image.voxels
    return greys(
        image.voxels,
        window_from(reading.window),
        image.window,
        inverted=image.inverted,
        nan_is_background=reading.nan_is_background,
    )


def _volume(source: Source, names: tuple[str, ...], dicom: bool) -> Volume:
    if dicom:
        return read_series(source.read, names)
    if names[0].lower().endswith((".mhd", ".mha")):
        return read_metaimage(source.read, names[0], source.label(names[0]))
    if names[0].lower().endswith((".mgz", ".mgh")):
        return read_mgh(source.read(names[0]), source.label(names[0]))
    return read_nifti(source.read(names[0]), source.label(names[0]))
