"""Slices of volumes: any NIfTI, MetaImage or DICOM series with its segmentation.

Images and segmentations are paired by name (see :mod:`palpate.data.prepare.cases`), or by two
patterns. Options:

``images``, ``masks``
    Patterns of names in which ``{case}`` stands for the name of a case, such as
    ``imagesTr/{case}_0000.nii.gz`` and ``labelsTr/{case}.nii.gz``. A pattern that ends in ``/``
    means a folder of DICOM files.
``slices``
    ``largest`` (the slice with the most foreground of a structure), ``middle`` (of those with
    foreground), ``all`` (with foreground), ``every-N`` (each Nth of these) or ``index-N``.
``axis``
    ``acquired``, ``axial``, ``coronal``, ``sagittal``, or ``0``, ``1``, ``2`` for an axis of the
    file; see :func:`palpate.data.volumes.planes.slices`.
``window``
    ``auto``, ``full``, a name such as ``ct-lung``, or ``CENTRE,WIDTH``; see
    :func:`palpate.data.volumes.windowing.greys`.
``labels``
    Names of the values of the segmentations, such as ``1=liver,2=tumour``; by default those of a
    ``dataset.json`` beside them, else ``label 1`` and so on, or ``structure`` if there is but one.
``structure``
    Structure that a segmentation with a single value outlines.
``group``
    Regular expression for the patient in the name of a case; by default a number after
    ``patient``, ``subject``, ``sub``, ``pat`` or ``case``, else the whole name.

Patients of DICOM files get running numbers; of their elements only pixels, geometry, window and
modality are used. Nothing is resampled.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palpate.data.prepare.cases import CaseFiles, find_cases
from palpate.data.prepare.converter import Converter
from palpate.data.prepare.item import Item
from palpate.data.prepare.metadata import read_json
from palpate.data.prepare.naming import file_stem
from palpate.data.prepare.slicing import check_rule, chosen
from palpate.data.prepare.source import Source
from palpate.data.problems import refuse
from palpate.data.volumes import (
    Volume,
    check_axis,
    greys,
    on_grid_of,
    read_dataset,
    read_metaimage,
    read_nifti,
    read_seg,
    read_series,
    slices,
    window_from,
)
from palpate.data.volumes.dicom_seg import SEG, STRUCTURE_SET

_OPTIONS = {
    "images": "",
    "masks": "",
    "slices": "largest",
    "axis": "acquired",
    "window": "auto",
    "labels": "",
    "structure": "foreground",
    "group": "",
}


def find(source: Source, **options: str) -> list[Item]:
    """Find the chosen slices of every case, with one item per structure.

    Segmentations are read, since slices are chosen by their foreground.

    Raises:
        WrongLayout: If no image and segmentation belong together.
        ValueError: If an option makes no sense, or files cannot be read or do not fit; all are
            listed.
    """
    wanted = _OPTIONS | options
    check_axis(wanted["axis"])
    check_rule(wanted["slices"])
    window_from(wanted["window"])
    names = _names_of_labels(source, wanted["labels"])
    cases = find_cases(source, wanted["images"], wanted["masks"], wanted["group"])
    items, problems, bare = list[Item](), list[str](), list[str]()
    for case in cases:
        try:
            shown = list(_items(source, case, wanted, names))
            items += shown
            bare += [] if shown else [case.name]
        except (ValueError, OSError) as error:
            problems.append(f"{case.name}: {error}")
    refuse(problems, "Expected volumes with segmentations on their grid")
    if not items:
        raise ValueError(
            f"Expected foreground in the segmentations of {source.path}, found none in "
            f"{len(cases)} cases. Choose slices by index, or give other segmentations."
        )
    if bare:
        warnings.warn(
            f"{len(bare)} of {len(cases)} segmentations have no foreground, such as that of "
            f"{bare[0]}; these cases are left out, since only index-N chooses slices without it.",
            stacklevel=3,
        )
    return items


def _items(
    source: Source, case: CaseFiles, wanted: Mapping[str, str], names: Mapping[int, str]
) -> Iterator[Item]:
    facts = {"modality": case.modality} if case.modality else {}
    for structure, (labels, value) in _outlines(source, case, wanted, names).items():
        for number in chosen(wanted["slices"], np.count_nonzero(labels == value, axis=(1, 2))):
            stem = f"{file_stem(case.name)}_{number:04d}"
            yield Item(
                image_name=f"{stem}.png",
                mask_name=f"{file_stem(structure)}/{stem}.png",
                group=case.group,
                structure=structure.replace("_", " "),
                split=case.split,
                members=(*case.images, *case.masks),
                read_image=partial(_read_image, source, case, wanted, number),
                read_mask=partial(_read_mask, source, case, wanted, names, structure, number),
                facts=facts | {"slice": str(number)},
                is_private=case.images_are_dicom or case.masks_are_dicom,
            )


def _read_image(
    source: Source, case: CaseFiles, wanted: Mapping[str, str], number: int
) -> NDArray[np.uint8]:
    shades = _shades(source, case, wanted["window"])
    picture = slices(_image(source, case), wanted["axis"], shades)[number]
    if picture.ndim == 3:
        return np.ascontiguousarray(picture)
    return np.repeat(picture[..., None], 3, axis=2)


def _read_mask(
    source: Source,
    case: CaseFiles,
    wanted: Mapping[str, str],
    names: Mapping[int, str],
    structure: str,
    number: int,
) -> NDArray[np.bool_]:
    labels, value = _outlines(source, case, wanted, names)[structure]
    return np.asarray(labels[number] == value)


def _outlines(
    source: Source, case: CaseFiles, wanted: Mapping[str, str], names: Mapping[int, str]
) -> dict[str, tuple[NDArray[Any], int]]:
    """Structures of a case: the slices of a label array, and the value of the structure."""
    image, found = _image(source, case), dict[str, tuple[NDArray[Any], int]]()
    for name, labels in _labels(source, case).items():
        along = slices(image, wanted["axis"], labels)
        if name:
            found[name] = along, 1
            continue
        values = _values(source, case)
        for value in values:
            alone = len(values) == 1 and not names
            found[wanted["structure"] if alone else names.get(value, f"label {value}")] = (
                along,
                value,
            )
    return found


@lru_cache(maxsize=2)
def _values(source: Source, case: CaseFiles) -> tuple[int, ...]:
    """Values of a label map except the background."""
    return tuple(int(value) for value in np.unique(_labels(source, case)[""]) if value != 0)


@lru_cache(maxsize=2)
def _labels(source: Source, case: CaseFiles) -> dict[str, NDArray[Any]]:
    """Masks of a DICOM segmentation by name; otherwise one label array under the empty name."""
    image, first = _image(source, case), case.masks[0]
    if len(case.masks) == 1 and case.masks_are_dicom:
        data = source.read(first)
        kind = str(read_dataset(data, source.label(first), pixels=False).get("SOPClassUID"))
        if kind == STRUCTURE_SET:
            raise ValueError(
                f"expected voxels in {source.label(first)}, got contours (RTSTRUCT); convert them "
                "to a NIfTI or a DICOM segmentation"
            )
        if kind == SEG:
            return dict(read_seg(data, source.label(first), image))
    segmentation = _volume(source, case.masks, case.masks_are_dicom)
    labels = on_grid_of(segmentation, image)
    if labels.ndim != 3 or (labels != np.rint(labels)).any() or labels.min() < 0:
        raise ValueError(
            f"expected whole labels from 0 on in {source.label(first)}, got {labels.min()} to "
            f"{labels.max()} in {labels.shape}; export it without interpolation"
        )
    return {"": labels}


@lru_cache(maxsize=2)
def _image(source: Source, case: CaseFiles) -> Volume:
    return _volume(source, case.images, case.images_are_dicom)


@lru_cache(maxsize=2)
def _shades(source: Source, case: CaseFiles, window: str) -> NDArray[Any]:
    """Grey values of a whole volume."""
    image = _image(source, case)
    if image.voxels.ndim == 4:
        return image.voxels
    try:
        return greys(image.voxels, window_from(window), image.window, inverted=image.inverted)
    except ValueError as error:
        raise ValueError(f"{image.name}: {error}.") from error


def _volume(source: Source, names: tuple[str, ...], dicom: bool) -> Volume:
    if dicom:
        return read_series(source.read, names)
    if names[0].lower().endswith((".mhd", ".mha")):
        return read_metaimage(source.read, names[0], source.label(names[0]))
    return read_nifti(source.read(names[0]), source.label(names[0]))


def _names_of_labels(source: Source, told: str) -> dict[int, str]:
    if told:
        return _parsed(told)
    files = [name for name in source.names if name.rsplit("/", 1)[-1] == "dataset.json"]
    content = read_json(source, files[0]) if len(files) == 1 else None
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict):
        return {}
    # The Medical Segmentation Decathlon writes {"1": "liver"}, nnU-Net writes {"liver": 1}.
    pairs = [(k, v) if str(k).isdecimal() else (v, k) for k, v in labels.items()]
    known = {int(k): str(v) for k, v in pairs if isinstance(k, int) or str(k).isdecimal()}
    return {value: name for value, name in known.items() if value > 0}


def _parsed(told: str) -> dict[int, str]:
    pairs = [re.fullmatch(r"\s*(\d+)\s*=\s*([^=]*\S)\s*", part) for part in told.split(",")]
    found = [pair for pair in pairs if pair is not None]
    names = {int(pair[1]): pair[2] for pair in found}
    if len(names) < len(pairs) or len(set(names.values())) < len(names):
        raise ValueError(
            f"Expected labels such as 1=liver,2=tumour, each once, got {told!r}. Correct the "
            "option labels."
        )
    return names


MASK2D = Converter("mask2d", "mask2d", find, options=_OPTIONS)
