"""Splits and patients in file names, and conversion to valid file names."""

import re
from collections.abc import Container
from pathlib import PurePosixPath

from palpate.data.patients import patient_or_name

_SPLITS = {
    "train": "train", "training": "train", "tr": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "ts": "test",
}  # fmt: skip


def split_of(name: str) -> str | None:
    """Split that is named in the path of a file; None if there is not exactly one.

    >>> split_of("annotations/instances_val2017.json"), split_of("test/_annotations.coco.json")
    ('val', 'test')
    >>> split_of("instances_default.json"), split_of("testing/train.json")
    (None, None)
    """
    path = PurePosixPath(name)
    told = path.with_suffix("") if path.name else path  # the top folder has no name
    words = re.findall(r"[a-z]+", str(told).lower())
    splits = {_SPLITS[word] for word in words if word in _SPLITS}
    return splits.pop() if len(splits) == 1 else None


def file_stem(name: str) -> str:
    """Convert a path to one valid file name without extension.

    >>> file_stem("case 1/slice.png"), file_stem("liver")
    ('case 1_slice', 'liver')
    """
    path = PurePosixPath(name.replace("\\", "/"))
    flat = "_".join(part for part in path.parts if part not in ("/", "..", "."))
    # Characters that Windows forbids in file names.
    stem = re.sub(r'[\x00-\x1f<>:"|?*]', "_", flat.removesuffix(path.suffix))
    return stem.strip(". ") or "_"


def with_data(name: str, names: Container[str]) -> tuple[str, ...]:
    """A file and, if it is the header of a MetaImage, its data file.

    >>> with_data("a/1.mhd", {"a/1.mhd", "a/1.raw"}), with_data("a.nii", {})
    (('a/1.mhd', 'a/1.raw'), ('a.nii',))
    """
    data = [name.removesuffix(".mhd") + end for end in (".raw", ".zraw")]
    return (name, *(part for part in data if name.endswith(".mhd") and part in names))


def patient_of(name: str, pattern: str) -> str:
    """Patient in a name: the first group of a pattern, or its whole match.

    An empty pattern gives the result of :func:`palpate.data.patients.patient_or_name`.

    >>> patient_of("sub-03_slice12", r"sub-[0-9]+"), patient_of("a_1", "")
    ('sub-03', 'a_1')

    Raises:
        ValueError: If the pattern is not a valid regular expression or does not match.
    """
    if not pattern:
        return patient_or_name(name)
    try:
        found = re.search(pattern, name)
    except re.error as error:
        raise ValueError(
            f"Expected a regular expression for the group, got {pattern!r} ({error})."
        ) from error
    if found is None:
        raise ValueError(f"Expected {pattern!r} to match the name {name!r}, it does not.")
    return found[1] if found.re.groups and found[1] is not None else found[0]
