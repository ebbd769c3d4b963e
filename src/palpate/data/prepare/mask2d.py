"""Slices of volumes: any NIfTI, MetaImage, MGH or DICOM series with its segmentation.

Images and segmentations are paired by name (see :mod:`palpate.data.prepare.cases`), or by two
patterns. Options:

``images``, ``masks``
    Patterns of names in which ``{case}`` stands for the name of a case, such as
    ``imagesTr/{case}_0000.nii.gz`` and ``labelsTr/{case}.nii.gz``. A pattern without the
    ending of a file, such as ``{case}/CT``, means a folder of DICOM files.
``slices``
    ``largest`` (the slice with the most foreground of a structure), ``middle`` (of those with
    foreground), ``all`` (with foreground), ``every-N`` (each Nth of these) or ``index-N``.
``axis``
    ``acquired``, ``axial``, ``coronal``, ``sagittal``, or ``0``, ``1``, ``2`` for an axis of the
    file; see :func:`palpate.data.volumes.planes.slices`.
``window``
    ``auto``, ``full``, a name such as ``ct-lung``, or ``CENTRE,WIDTH``; see
    :func:`palpate.data.volumes.windowing.greys`.
``channel``
    Channel or point in time of images with a fourth axis, counted from 0.
``nan``
    ``refuse``, or ``background``: NaN and infinite values are black in images and label 0 in
    segmentations.
``trust-shape``
    ``no``, or ``yes``: if the header of a segmentation does not fit that of its image but the shape
    does, its voxels are taken in the order of the file, with a warning.
``labels``
    Names of the values of the segmentations, such as ``1=liver,2=tumour``; by default those of a
    ``dataset.json`` beside them, else ``label 1`` and so on, or ``structure`` if there is but one.
``ignore``
    Labels of voxels that count in no loss, attack or metric, such as ``255``; for maps of labels.
``structure``
    Structure that a segmentation with a single value outlines.
``group``
    Regular expression for the patient in the name of a case; by default a number after
    ``patient``, ``subject``, ``sub``, ``pat`` or ``case``, else the whole name.

A segmentation with a fourth axis has a channel for each structure, see
:func:`palpate.data.volumes.labels.channels_of`.

Patients of DICOM files get running numbers; of their elements only pixels, geometry, window and
modality are used. Nothing is resampled.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from palpate.data.prepare.case_volumes import (
    Reading,
    ignored_slice,
    image_slice,
    mask_slice,
    outlines,
)
from palpate.data.prepare.cases import CaseFiles, find_cases
from palpate.data.prepare.converter import Converter
from palpate.data.prepare.item import Item
from palpate.data.prepare.metadata import read_json
from palpate.data.prepare.naming import file_stem
from palpate.data.prepare.slicing import check_rule, chosen
from palpate.data.prepare.source import Source
from palpate.data.problems import refuse
from palpate.data.volumes import check_axis, window_from
from palpate.errors import did_you_mean

_OPTIONS = {
    "images": "",
    "masks": "",
    "slices": "largest",
    "axis": "acquired",
    "window": "auto",
    "channel": "",
    "labels": "",
    "ignore": "",
    "structure": "foreground",
    "group": "",
    "nan": "refuse",
    "trust-shape": "no",
}
_CHOICES = {"nan": ("refuse", "background"), "trust-shape": ("no", "yes")}


def find(source: Source, **options: str) -> list[Item]:
    """Find the chosen slices of every case, with one item per structure.

    Images and segmentations are read, since slices are chosen by their foreground and every error
    is to be found before anything is written.

    Raises:
        WrongLayout: If no image and segmentation belong together.
        ValueError: If an option makes no sense, or files cannot be read or do not fit; all are
            listed.
    """
    wanted = _OPTIONS | options
    check_rule(wanted["slices"])
    reading = _reading(source, wanted)
    cases = find_cases(source, wanted["images"], wanted["masks"], wanted["group"])
    items, problems, bare = list[Item](), list[str](), list[CaseFiles]()
    kinds: dict[bool | None, str] = {}
    trusted = []
    for case in cases:
        try:
            found = outlines(source, case, reading)
            shown = list(_items(source, case, wanted["slices"], reading))
        except (ValueError, OSError) as error:
            problems.append(f"{case.name}: {error}")
            continue
        items += shown
        bare += [] if shown else [case]
        trusted += [case.name] if found.trusted else []
        kinds.setdefault(found.background, case.name)
    refuse(problems, "Expected volumes with segmentations on their grid")
    _refuse_both_kinds(kinds)
    if not items:
        raise ValueError(
            f"Expected foreground in the segmentations of {source.path}, found none in "
            f"{len(cases)} cases. Choose slices by index, or give other segmentations."
        )
    _tell(source, cases, bare, trusted)
    return items


def _reading(source: Source, wanted: Mapping[str, str]) -> Reading:
    """How volumes are read, from the options."""
    check_axis(wanted["axis"])
    window_from(wanted["window"])
    for option, known in _CHOICES.items():
        if wanted[option] not in known:
            raise ValueError(
                f"Expected the option {option} to be {' or '.join(known)}, got "
                f"{wanted[option]!r}.{did_you_mean(wanted[option], known)}"
            )
    channel = wanted["channel"]
    if channel and not re.fullmatch(r"\d{1,4}", channel):
        raise ValueError(f"Expected the option channel to be an index from 0 on, got {channel!r}.")
    return Reading(
        axis=wanted["axis"],
        window=wanted["window"],
        names=tuple(_names_of_labels(source, wanted["labels"]).items()),
        structure=wanted["structure"],
        ignored=_ignored(wanted["ignore"]),
        channel=int(channel) if channel else None,
        nan_is_background=wanted["nan"] == "background",
        trust_shape=wanted["trust-shape"] == "yes",
    )


def _ignored(told: str) -> tuple[int, ...]:
    words = [word.strip() for word in told.split(",") if word.strip()]
    if not all(re.fullmatch(r"\d{1,9}", word) for word in words):
        raise ValueError(
            f"Expected labels from 0 on in the option ignore, such as 255 or 254,255, got {told!r}."
        )
    return tuple(map(int, words))


def _refuse_both_kinds(kinds: Mapping[bool | None, str]) -> None:
    if True in kinds and False in kinds:
        raise ValueError(
            "Expected segmentations with channels of one kind, got some whose first channel is the "
            f"background, such as that of {kinds[True]}, and some whose channels do not cover all "
            f"voxels or overlap, such as that of {kinds[False]}: a channel would be another label "
            "in each. Prepare them apart, or store maps of labels with three axes."
        )


def _tell(
    source: Source, cases: Sequence[CaseFiles], bare: Sequence[CaseFiles], trusted: Sequence[str]
) -> None:
    """Tell of cases that are left out, and of headers that were not believed."""
    if bare:
        why = "cases without foreground, which only slices index-N shows"
        source.left_out[why] = tuple(n for case in bare for n in (*case.images, *case.masks))
    if trusted:
        warnings.warn(
            f"{len(trusted)} of {len(cases)} segmentations have a header that does not fit their "
            f"image, such as that of {trusted[0]}; their voxels were taken in the order of the "
            "file, which their shapes allow but do not prove. Look at one.",
            stacklevel=4,
        )


def _items(source: Source, case: CaseFiles, rule: str, reading: Reading) -> Iterator[Item]:
    facts = {"modality": case.modality} if case.modality else {}
    for structure, (labels, value) in outlines(source, case, reading).by_structure.items():
        for number in chosen(rule, np.count_nonzero(labels == value, axis=(1, 2))):
            stem = f"{file_stem(case.name)}_{number:04d}"
            yield Item(
                image_name=f"{stem}.png",
                mask_name=f"{file_stem(structure)}/{stem}.png",
                group=case.group,
                structure=structure.replace("_", " "),
                split=case.split,
                members=(*case.images, *case.masks),
                read_image=partial(image_slice, source, case, reading, number),
                read_mask=partial(mask_slice, source, case, reading, structure, number),
                read_ignored=partial(ignored_slice, source, case, reading, number)
                if reading.ignored
                else None,
                facts=facts | {"slice": str(number)},
                is_private=case.images_are_dicom or case.masks_are_dicom,
            )


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


MASK2D = Converter(
    "mask2d",
    "mask2d",
    find,
    options=_OPTIONS,
    instead={"values": "Labels get names with --options labels 1=liver,2=tumour."},
)
