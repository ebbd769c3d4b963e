"""CAMUS: apical views of the heart at end-diastole and end-systole, with three structures each.

Both releases are read: ``database_nifti/patient0001/patient0001_2CH_ED.nii.gz`` with the official
split in ``database_split/subgroup_*.txt``, and the older ``training/patient0001/..._ED.mhd``. In
the older one, testing patients are other people with the same numbers, and are therefore named
``testing_...``. If these have a ground truth, they are the test split, and the first fifty training
patients are the validation split, as in the published annotations. Without them and without
subgroup files, patients are assigned to splits at random. Pixels are not resampled and the apex is
at the top: the first axis of a file counts columns, the second counts rows; a pixel is about twice
as wide as high. View, phase, sex, age and image quality come from ``Info_2CH.cfg`` and
``Info_4CH.cfg``.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from palpate.data.prepare.converter import Converter, WrongLayout
from palpate.data.prepare.item import Item
from palpate.data.prepare.naming import with_data
from palpate.data.prepare.source import Source
from palpate.data.problems import refuse
from palpate.data.volumes import Volume, on_grid_of, read_metaimage, read_nifti

STRUCTURES = {1: "left ventricle", 2: "myocardium", 3: "left atrium"}
VIEWS = {"2CH": "two-chamber", "4CH": "four-chamber"}
PHASES = {"ED": "end of diastole", "ES": "end of systole"}
SEXES = {"F": "female", "M": "male"}

_FRAME = re.compile(
    r"(?:^|/)(?P<patient>patient\d{4})_(?P<view>[24]CH)_(?P<phase>E[DS])(?P<truth>_gt)?"
    r"(?P<suffix>\.nii\.gz|\.nii|\.mhd)$"
)
_SUBGROUPS = {"training": "train", "validation": "val", "testing": "test"}
_REST = {r"_sequence(_gt)?\.": "sequences, of which only the frames at ED and ES are read"}
_TESTING = "testing"
_LAST_VAL = "patient0050"


class _Frame(NamedTuple):
    """One image of a patient."""

    folder: str
    patient: str
    view: str
    phase: str

    @property
    def group(self) -> str:
        return f"{_TESTING}_{self.patient}" if self.is_testing else self.patient

    @property
    def stem(self) -> str:
        return f"{self.group}_{self.view}_{self.phase}"

    @property
    def is_testing(self) -> bool:
        """Whether the frame is of a testing patient of the older release."""
        return _TESTING in PurePosixPath(self.folder).parts


def find(source: Source) -> list[Item]:
    """Find three masks for each of the four frames of each patient.

    Raises:
        WrongLayout: If there are no frames with the file names of CAMUS.
        ValueError: If a frame has no ground truth, or the subgroup files contradict each other; the
            problems are listed.
        FileNotFoundError: If the files with view, sex and age are missing.
    """
    images, truths = _frames(source)
    if not images:
        raise WrongLayout(
            f"Expected patient0001/patient0001_2CH_ED.nii.gz (or .mhd) and the like in "
            f"{source.path}, found none. Give CAMUS_public, or the folder that holds training/."
        )
    untold = [frame for frame in images if frame not in truths and frame.is_testing]
    if untold:
        why = f"frames in {_TESTING}/, which have no published ground truth"
        source.left_out[why] = tuple(images[frame] for frame in untold)
    shown = {frame: name for frame, name in images.items() if frame not in untold}
    refuse(
        [source.label(name) for frame, name in shown.items() if frame not in truths]
        + [source.label(name) for frame, name in truths.items() if frame not in images],
        "Expected for every frame both an image and its ground truth (..._gt), got only one",
        remedy="Download the set again.",
    )
    splits, facts = _splits(source, shown), _facts(source, shown)
    return [
        _item(source, frame, (name, truths[frame]), label, splits.get(frame), facts[frame])
        for frame, name in shown.items()
        for label in STRUCTURES
    ]


def _frames(source: Source) -> tuple[dict[_Frame, str], dict[_Frame, str]]:
    """Images and ground truths by frame."""
    found: tuple[dict[_Frame, str], dict[_Frame, str]] = {}, {}
    problems = []
    for name in source.names:
        match = _FRAME.search(name)
        if match is None:
            continue
        frame = _Frame(str(PurePosixPath(name).parent), *match.group("patient", "view", "phase"))
        first = found[match["truth"] is not None].setdefault(frame, name)
        if first != name:
            problems.append(f"{source.label(first)} and {source.label(name)}")
    refuse(problems, "Expected each frame once, got", remedy="Keep one format.")
    return found


def _splits(source: Source, frames: Mapping[_Frame, str]) -> dict[_Frame, str]:
    """Split of each frame, from subgroup files or from the folders of the source."""
    if listed := _subgroups(source):
        refuse(
            sorted({frame.patient for frame in frames} - listed.keys()),
            f"Expected every patient in one of the files subgroup_*.txt of {source.path}",
            remedy="Complete these files, or take all of them out to have patients dealt.",
        )
        return {frame: listed[frame.patient] for frame in frames}
    if not any(frame.is_testing for frame in frames):
        return {}
    return {
        frame: "test" if frame.is_testing else "val" if frame.patient <= _LAST_VAL else "train"
        for frame in frames
    }


def _subgroups(source: Source) -> dict[str, str]:
    """Split of each patient in the official subgroup files; empty if there are none."""
    splits: dict[str, str] = {}
    problems = []
    for name in source.names:
        found = re.search(r"(?:^|/)subgroup_(training|validation|testing)\.txt$", name)
        if found is None:
            continue
        patients = source.read(name).decode("utf-8", "replace").split()
        if not patients:
            problems.append(f"{source.label(name)}: no patient at all")
        for patient in patients:
            split = _SUBGROUPS[found[1]]
            if splits.setdefault(patient, split) != split:
                problems.append(f"{patient}: {splits[patient]} and {split}")
    refuse(
        problems,
        "Expected each patient in one of the files subgroup_*.txt, got some in several or none",
        remedy="Download these files again.",
    )
    return splits


def _facts(source: Source, frames: Mapping[_Frame, str]) -> dict[_Frame, dict[str, str]]:
    facts, problems = {}, []
    for frame in frames:
        name = str(PurePosixPath(frame.folder, f"Info_{frame.view}.cfg"))
        try:
            lines = source.read(name).decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            problems.append(source.label(name))
            continue
        if not any(":" in line for line in lines):
            problems.append(f"{source.label(name)} (empty)")
        facts[frame] = {"view": VIEWS[frame.view], "phase": PHASES[frame.phase]} | _told(lines)
    refuse(
        list(dict.fromkeys(problems)),
        "Expected a file of facts beside the frames of each view, missing are",
        FileNotFoundError,
        "Download the set again.",
    )
    return facts


def _told(lines: Sequence[str]) -> dict[str, str]:
    """Facts of a patient and view for prompts; unknown ones are omitted."""
    pairs = [line.partition(":") for line in lines]
    told = {key.strip().lower(): value.strip() for key, _, value in pairs}
    facts = {}
    if told.get("sex", "").upper() in SEXES:
        facts["sex"] = SEXES[told["sex"].upper()]
    if re.fullmatch(r"\d{1,3}(\.0*)?", told.get("age", "")):
        facts["age"] = str(int(float(told["age"])))
    if told.get("imagequality"):
        facts["quality"] = told["imagequality"].lower()
    return facts


def _item(
    source: Source,
    frame: _Frame,
    names: tuple[str, str],
    label: int,
    split: str | None,
    facts: Mapping[str, str],
) -> Item:
    return Item(
        image_name=f"{frame.stem}.png",
        mask_name=f"mask_{label}/{frame.stem}_gt.png",
        group=frame.group,
        structure=STRUCTURES[label],
        split=split,
        members=tuple(part for name in names for part in with_data(name, source.members)),
        read_image=partial(_read_image, source, names[0]),
        read_mask=partial(_read_mask, source, names, label),
        facts=dict(facts),
    )


def _read_image(source: Source, name: str) -> NDArray[np.uint8]:
    pixels = _upright(_volume(source, name))
    if pixels.min() < 0 or pixels.max() > 255 or (pixels != np.rint(pixels)).any():
        raise ValueError(
            f"Expected whole numbers of 8 bits in {source.label(name)}, got {pixels.min()} to "
            f"{pixels.max()}. Download it again."
        )
    return np.repeat(pixels.astype(np.uint8)[..., None], 3, axis=2)


def _read_mask(source: Source, names: tuple[str, str], label: int) -> NDArray[np.bool_]:
    image, truth = (_volume(source, name) for name in names)
    labels = _upright(Volume(truth.name, on_grid_of(truth, image)))
    values = np.unique(labels)
    if not set(values.tolist()) <= {0, *STRUCTURES}:
        raise ValueError(
            f"Expected labels 0 to 3 in {source.label(names[1])}, got {values[:8].tolist()}. "
            "Download it again; resampling must keep whole labels."
        )
    _refuse_upside_down(labels, source.label(names[1]))
    return np.asarray(labels == label)


def _upright(volume: Volume) -> NDArray[Any]:
    if volume.voxels.ndim != 3 or volume.shape[2] != 1:
        raise ValueError(
            f"Expected one grey image in {volume.name}, got voxels {volume.voxels.shape}. Give the "
            "frames of ED and ES, not the sequence."
        )
    return volume.voxels[:, :, 0].T


def _refuse_upside_down(labels: NDArray[Any], label: str) -> None:
    """Check the orientation: in an apical view the atrium is below the ventricle."""
    places = [np.argwhere(labels == value) for value in (1, 3)]
    if not all(map(len, places)):
        return
    down, aside = places[1].mean(axis=0) - places[0].mean(axis=0)
    if down < abs(aside):
        raise ValueError(
            f"Expected the left atrium below the left ventricle in {label}, found it elsewhere: "
            "the image lies on its side or its head. Download the original."
        )


@lru_cache(maxsize=8)
def _volume(source: Source, name: str) -> Volume:
    if name.endswith(".mhd"):
        return read_metaimage(source.read, name, source.label(name))
    return read_nifti(source.read(name), source.label(name))


CAMUS = Converter("camus", "camus", find, card="camus", known_rest=_REST)
