"""DICOM files of a source, grouped into series, without patient identifiers."""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from palpate.data.prepare.source import Source
from palpate.data.problems import refuse
from palpate.data.volumes import SEG, STRUCTURE_SET, is_dicom, read_dataset

_SUFFIXES = (".dcm", ".dicom", ".ima")
_MARK = 132  # bytes of the preamble and the prefix ``DICM``
_DIRECTORY = "1.2.840.10008.1.3.10"  # SOP class of a DICOMDIR, which has no image


@dataclass(frozen=True)
class DicomSeries:
    """Files of one series in one folder.

    Attributes:
        names: Names in the source.
        folder: Their folder.
        uid: Series instance UID.
        patient: Patient identifier; must never be written to disk, see
            :func:`patient_numbers`.
        modality: Such as ``CT``.
        is_segmentation: Whether it is a DICOM segmentation or structure set.
        references: UIDs of the series that a segmentation refers to.
    """

    names: tuple[str, ...]
    folder: str
    uid: str
    patient: str
    modality: str
    is_segmentation: bool
    references: tuple[str, ...]


def find_series(source: Source, names: Sequence[str]) -> list[DicomSeries]:
    """Find the DICOM series among files, one per folder and series UID.

    Args:
        source: Source that contains the files.
        names: Names of the files to examine.

    Raises:
        ValueError: If a file with the extension or prefix of DICOM cannot be read.
        RuntimeError: If there are DICOM files and pydicom is not installed.
    """
    found: dict[tuple[str, str], list[tuple[str, Any]]] = defaultdict(list)
    problems, burned_in = [], []
    for name in names:
        if not _is_ours(source, name):
            continue
        try:
            header = read_dataset(source.read(name), source.label(name), pixels=False)
        except ValueError as error:
            problems.append(str(error))
            continue
        if str(header.get("MediaStorageSOPClassUID", header.get("SOPClassUID"))) == _DIRECTORY:
            continue
        if str(header.get("BurnedInAnnotation", "NO")).upper() == "YES":
            burned_in.append(name)
        folder = PurePosixPath(name).parent.as_posix()
        found[folder, str(header.get("SeriesInstanceUID", ""))].append((name, header))
    problems += _nameless(source, found)
    refuse(problems, "Expected readable DICOM files", remedy="Take these out of the source.")
    if burned_in:
        warnings.warn(
            f"{len(burned_in)} DICOM images say that text is burned into their pixels "
            f"(BurnedInAnnotation YES), such as {burned_in[0]}: it may name the patient, and the "
            "images will show it. Blacken it before you share them.",
            stacklevel=3,
        )
    return [_series(folder, uid, files) for (folder, uid), files in found.items()]


def patient_numbers(series: Iterable[DicomSeries]) -> dict[str, str]:
    """Number the patients in the order of their file names.

    Numbers are used instead of hashes because identifiers are so few that all could be hashed and
    compared.

    Returns:
        A name such as ``patient-0001`` by patient identifier.
    """
    ordered = sorted(series, key=lambda each: each.names)
    patients = dict.fromkeys(each.patient for each in ordered)
    return {patient: f"patient-{number:04d}" for number, patient in enumerate(patients, start=1)}


def _is_ours(source: Source, name: str) -> bool:
    path = PurePosixPath(name)
    if path.name.upper() == "DICOMDIR":
        return False
    if path.suffix.lower() in _SUFFIXES:
        return True
    # Series are often stored under bare numbers or identifiers; these have no usual suffix.
    if len(path.suffix) in (3, 4, 5) and path.suffix[1:].isalpha():
        return False
    with source.open(name) as stream:
        return is_dicom(stream.read(_MARK))


def _nameless(source: Source, found: Mapping[tuple[str, str], list[tuple[str, Any]]]) -> list[str]:
    """Files without a series UID beside files that have one, such as truncated files."""
    named = {folder for folder, uid in found if uid}
    return [
        f"{source.label(name)}: it does not say which series it is of, as others beside it do"
        for (folder, uid), files in found.items()
        if not uid and folder in named
        for name, _ in files
    ]


def _series(folder: str, uid: str, files: Sequence[tuple[str, Any]]) -> DicomSeries:
    header = files[0][1]
    references = [
        str(item.get("SeriesInstanceUID")) for item in header.get("ReferencedSeriesSequence") or []
    ]
    # If the identifier was removed, the study is the best substitute.
    told = (header.get("PatientID"), header.get("StudyInstanceUID"), folder)
    return DicomSeries(
        tuple(sorted(name for name, _ in files)),
        folder,
        uid,
        next(str(value) for value in told if value),
        str(header.get("Modality", "")),
        str(header.get("SOPClassUID")) in (SEG, STRUCTURE_SET),
        tuple(references),
    )
