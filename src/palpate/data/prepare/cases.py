"""Pairing of volumes with their segmentations by name.

Without patterns, a volume is a segmentation if it is in a folder such as ``masks``, ``labels``,
``labelsTr`` or ``segmentations``, or if its name ends in ``_seg``, ``_mask``, ``_gt`` or similar.
Its image has the same name apart from these parts, with or without the channel ``_0000`` of
nnU-Net, or is the only other volume in the folder. Each series in a folder of DICOM files is a
volume; a DICOM segmentation refers to its series by UID.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from palpate.data.prepare.converter import WrongLayout
from palpate.data.prepare.dicom_files import DicomSeries, find_series, patient_numbers
from palpate.data.prepare.naming import file_stem, patient_of, split_of, with_data
from palpate.data.prepare.source import Source
from palpate.data.problems import refuse

_SUFFIXES = (".nii.gz", ".nii", ".mhd", ".mha", ".mgz", ".mgh")
_UNREAD = (".nrrd", ".nhdr", ".mnc", ".hdr", ".nii.bz2", ".npy", ".npz")
_MASKS = r"masks?|labels?|segmentations?|segs?|gt|ground_?truths?|annotations?"
_IMAGES = r"images?|imgs?|volumes?|scans?"
_FOLDER = re.compile(rf"(?P<mask>{_MASKS})?(?:{_IMAGES})?(?P<part>tr|ts|va)?", re.IGNORECASE)
_ENDING = re.compile(rf"(?:^|[_.-])(?P<mask>{_MASKS})$", re.IGNORECASE)
_IMAGE_ENDING = re.compile(rf"(?:^|[_.-])(?:{_IMAGES})$|_0000$", re.IGNORECASE)


@dataclass(frozen=True)
class CaseFiles:
    """Files of a volume and its segmentation.

    Attributes:
        name: Name of the case.
        group: Patient.
        split: Split named in the path; None if there is none.
        images: Files of the volume; several for a DICOM series.
        masks: Files of the segmentation; several for a DICOM series.
        images_are_dicom: Whether the volume is in DICOM format.
        masks_are_dicom: Whether the segmentation is in DICOM format.
        modality: Modality from the DICOM header, such as ``CT``; empty for other formats.
    """

    name: str
    group: str
    split: str | None
    images: tuple[str, ...]
    masks: tuple[str, ...]
    images_are_dicom: bool = False
    masks_are_dicom: bool = False
    modality: str = ""


@dataclass(frozen=True)
class _Stack:
    """A volume or segmentation: one file, or the files of a DICOM series."""

    names: tuple[str, ...]
    path: str  # of the file, or the folder of the series
    series: DicomSeries | None = None

    @property
    def is_segmentation(self) -> bool:
        if self.series is not None and self.series.is_segmentation:
            return True
        folders, stem = _parts(self.path)
        found = (_FOLDER.fullmatch(folder) for folder in folders)
        return any(f and f["mask"] for f in found) or _ENDING.search(stem) is not None

    @property
    def key(self) -> tuple[str, str]:
        """Folder and name without the parts that distinguish images from masks."""
        folders, stem = _parts(self.path)
        kept = [f["part"] or "" if (f := _FOLDER.fullmatch(part)) else part for part in folders]
        bare = _IMAGE_ENDING.sub("", _ENDING.sub("", stem))
        return "/".join(filter(None, kept)).lower(), bare


def find_cases(source: Source, images: str, masks: str, group: str) -> list[CaseFiles]:
    """Find volumes with their segmentations.

    Args:
        source: Source that contains both.
        images: Pattern with ``{case}`` for the names of images; empty to pair by name.
        masks: Pattern for the names of masks; both patterns or neither.
        group: Regular expression for the patient in the name of a case; may be empty.

    Returns:
        The cases in the order of their names.

    Raises:
        WrongLayout: If there is no pair.
        ValueError: If pairs are ambiguous, or DICOM files cannot be read.
    """
    if bool(images) != bool(masks):
        raise ValueError("Expected a pattern for both, images and masks, or for neither.")
    stacks = _stacks(source)
    pairs = _by_pattern(stacks, images, masks) if images else _by_name(source, stacks)
    if not pairs:
        raise WrongLayout(
            f"Expected images and their segmentations ({', '.join(_SUFFIXES)} or DICOM) in "
            f"{source.path}, found {_found(stacks)}. {_advice(source, stacks)}"
        )
    return _cases(pairs, group)


def _found(stacks: Sequence[_Stack]) -> str:
    """What there is, for errors: numbers, and the first of each kind."""
    if not stacks:
        return "no volumes at all"
    kinds = {
        "images": [stack.path for stack in stacks if not stack.is_segmentation],
        "segmentations": [stack.path for stack in stacks if stack.is_segmentation],
    }
    told = [
        f"{len(some) or 'no'} {kind}{f' ({_such_as(some)})' if some else ''}"
        for kind, some in kinds.items()
    ]
    return f"{' and '.join(told)} by their names"


def _such_as(paths: Sequence[str]) -> str:
    return ", ".join([*paths[:2], *["..."] * (len(paths) > 2)])


def _advice(source: Source, stacks: Sequence[_Stack]) -> str:
    unread = sorted({s for s in _UNREAD for name in source.names if name.lower().endswith(s)})
    if unread:
        return (
            f"Files of the kind {' and '.join(unread)} are not read: convert them to .nii.gz or "
            ".mha, for example with SimpleITK."
        )
    if not stacks:
        return "Give the folder that holds them in --source."
    return (
        "Say which belong together with patterns, in which {case} stands for the name of a case: "
        "--options images 'imagesTr/{case}_0000.nii.gz' masks 'labelsTr/{case}.nii.gz' for files, "
        "--options images '{case}/CT' masks '{case}/SEG' for folders of DICOM files."
    )


def _stacks(source: Source) -> list[_Stack]:
    volumes = [name for name in source.names if name.lower().endswith(_SUFFIXES)]
    plain = [_Stack(with_data(name, source.members), name) for name in volumes]
    known = {name for stack in plain for name in stack.names}
    series = find_series(source, [name for name in source.names if name not in known])
    return plain + [_Stack(each.names, each.folder, each) for each in series]


def _by_pattern(
    stacks: Sequence[_Stack], images: str, masks: str
) -> dict[str, tuple[_Stack, _Stack]]:
    found = [_matching(stacks, pattern) for pattern in (images, masks)]
    for pattern, matched in zip((images, masks), found, strict=True):
        if not matched:
            paths = [stack.path for stack in stacks]
            raise ValueError(
                f"Expected volumes that fit the pattern {pattern!r}, got none among {len(paths)}: "
                f"{_such_as(paths) or 'there are none'}. Correct the pattern; one that ends in "
                f"{', '.join(_SUFFIXES)} means a file, any other a folder of DICOM files."
            )
    lacking = sorted(found[0].keys() ^ found[1].keys())
    refuse(
        lacking,
        f"Expected an image {images!r} and a mask {masks!r} for each case, only one is there of",
        remedy="Complete these cases, or make the patterns narrower.",
    )
    return {case: (found[0][case], found[1][case]) for case in sorted(found[0])}


def _matching(stacks: Sequence[_Stack], pattern: str) -> dict[str, _Stack]:
    if pattern.count("{case}") < 1:
        raise ValueError(f"Expected {{case}} in the pattern {pattern!r}, such as {{case}}/ct.nii.")
    is_folder = not pattern.lower().endswith(_SUFFIXES)
    first, *rest = pattern.removesuffix("/").split("{case}")
    pieces = [re.escape(piece).replace(r"\*", "[^/]*") for piece in (first, *rest)]
    regex = re.compile(rf"(?:^|.*/){pieces[0]}(?P<case>[^/]+?)" + r"(?P=case)".join(pieces[1:]))
    of_kind = [stack for stack in stacks if (stack.series is not None) == is_folder]
    found: dict[str, _Stack] = {}
    for stack in of_kind:
        match = regex.fullmatch(stack.path)
        if match and found.setdefault(match["case"], stack) is not stack:
            raise ValueError(
                f"Expected one volume for the case {match['case']!r} of {pattern!r}, got "
                f"{found[match['case']].path} and {stack.path}. Make the pattern longer."
            )
    return found


def _by_name(source: Source, stacks: Sequence[_Stack]) -> dict[str, tuple[_Stack, _Stack]]:
    masks = [stack for stack in stacks if stack.is_segmentation]
    images = [stack for stack in stacks if not stack.is_segmentation]
    pairs, problems = [], []
    for mask in masks:
        found = _images_of(mask, images)
        if len(found) == 1:
            pairs.append((found[0], mask))
        else:
            which = ", ".join(image.path for image in found[:3]) or "none"
            problems.append(f"{source.label(mask.path)}: {which}")
    refuse(
        problems,
        "Expected one image for each segmentation, by its name or as the only one in its folder; "
        "got",
        remedy="Give patterns in the options images and masks.",
    )
    used = {image.path for image, _ in pairs}
    alone = [image for image in images if image.path not in used]
    if pairs and alone:
        why = f"{len(alone)} of {len(images)} volumes, which have no segmentation"
        source.left_out[why] = tuple(name for image in alone for name in image.names)
    return _named(pairs)


def _images_of(mask: _Stack, images: Sequence[_Stack]) -> list[_Stack]:
    """Candidates for the image of a segmentation, by the first rule that finds any."""
    if mask.series is not None and mask.series.references:
        referenced = [i for i in images if i.series and i.series.uid in mask.series.references]
        if referenced:
            return referenced
    same = [image for image in images if image.key == mask.key]
    beside = [image for image in images if image.key[0] == mask.key[0]]
    top = f"{mask.key[0]}/" if mask.key[0] else ""
    below = [image for image in images if image.key[0].startswith(top)]
    return same or beside or below


def _named(pairs: Iterable[tuple[_Stack, _Stack]]) -> dict[str, tuple[_Stack, _Stack]]:
    """Pairs by name: the file names if these are unique, else whole paths."""
    pairs = list(pairs)
    bare = defaultdict(list)
    for image, mask in pairs:
        bare[mask.key[1] or image.key[1]].append((image, mask))
    short = all(name and len(found) == 1 for name, found in bare.items())
    if short:
        return {name: found[0] for name, found in sorted(bare.items())}
    named: dict[str, tuple[_Stack, _Stack]] = {}
    for image, mask in pairs:
        name = file_stem("/".join(filter(None, mask.key)) or image.key[1] or "case")
        while name in named:
            name += "_"
        named[name] = image, mask
    return dict(sorted(named.items()))


def _cases(pairs: Mapping[str, tuple[_Stack, _Stack]], group: str) -> list[CaseFiles]:
    splits = {name: split_of(image.path) for name, (image, _) in pairs.items()}
    if len(set(splits.values())) == 1:  # a folder that contains all cases names no split
        splits = dict.fromkeys(splits)
    numbers = patient_numbers(image.series for image, _ in pairs.values() if image.series)
    seen: Counter[str] = Counter()
    cases = []
    for told, (image, mask) in pairs.items():
        name, patient = told, ""
        if image.series is None:
            patient = patient_of(told, group)
        else:  # names of folders and files may contain patient names
            patient = numbers[image.series.patient]
            seen[patient] += 1
            name = f"{patient}_series-{seen[patient]:02d}"
        cases.append(_case(name, patient, splits[told], image, mask))
    return cases


def _case(name: str, patient: str, split: str | None, image: _Stack, mask: _Stack) -> CaseFiles:
    return CaseFiles(
        name,
        patient,
        split,
        image.names,
        mask.names,
        image.series is not None,
        mask.series is not None,
        image.series.modality if image.series else "",
    )


def _parts(path: str) -> tuple[tuple[str, ...], str]:
    """Folders of a path, and the name without the extension of a volume."""
    pure = PurePosixPath(path)
    suffix = next((s for s in _SUFFIXES if path.lower().endswith(s)), "")
    if not suffix:  # the folder of a series
        return pure.parts, ""
    return pure.parent.parts, pure.name[: -len(suffix)]
