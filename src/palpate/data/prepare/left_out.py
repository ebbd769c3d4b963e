"""Files with pixels that a converter leaves out, with the reasons."""

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from PIL import Image

from palpate.data.prepare.archives import is_archive
from palpate.data.prepare.converter import Converter
from palpate.data.prepare.item import Item
from palpate.data.prepare.source import Source

_SHOWN = 3  # names for each reason
_DOCUMENTS = (".pdf", ".ps", ".eps")  # Pillow has them among its images
_VOLUMES = (
    ".nii", ".nii.gz", ".nii.bz2", ".mhd", ".mha", ".nrrd", ".nhdr", ".mgh", ".mgz", ".mnc", ".img",
    ".dcm", ".dicom", ".ima", ".npy", ".npz", ".mat",
)  # fmt: skip


class LeftOut(UserWarning):
    """Files of a source were left out."""


def left_out(
    source: Source, converter: Converter, items: Sequence[Item]
) -> dict[str, tuple[str, ...]]:
    """Find images and volumes of a source that no item uses.

    Args:
        source: The source, with the reasons that the converter gave while it read.
        converter: The converter, with the reasons that are known from names.
        items: What it found.

    Returns:
        Names of the files by reason.
    """
    used = {member for item in items for member in item.members}
    reasons = {name: why for why, some in source.left_out.items() for name in some}
    found: dict[str, list[str]] = {}
    for name in source.names:
        if name not in used and (name in reasons or _holds_pixels(name)):
            why = reasons.get(name) or _reason(source, converter, name)
            found.setdefault(why, []).append(name)
    return {why: tuple(names) for why, names in found.items()}


def warn_of(source: Source, converter: Converter, found: Mapping[str, Sequence[str]]) -> None:
    """Warn of files that are left out, with their number, the first names, and the reason.

    Files that every official download of a published set has besides are no cause for a warning.
    """
    expected = set(converter.known_rest.values()) if converter.card else set()
    told = {why: names for why, names in found.items() if why not in expected}
    if told:
        count = sum(map(len, told.values()))
        lines = [f"  {len(names)}: {why}, such as {_listed(names)}" for why, names in told.items()]
        files = f"{count} file{'s' * (count > 1)}"
        warnings.warn(
            "\n".join([f"{files} of {source.path} left out:", *lines]), LeftOut, stacklevel=3
        )


def summary_of(found: Mapping[str, Sequence[str]], items: Sequence[Item]) -> list[dict[str, Any]]:
    """The files that are left out, for ``dataset.json``; names that may identify a patient aren't.

    A DICOM file has such a name, and what lies beside it may have, too.
    """
    private = any(item.is_private for item in items)
    return [
        {"reason": why, "count": len(names)} | ({} if private else {"files": list(names[:_SHOWN])})
        for why, names in found.items()
    ]


def _holds_pixels(name: str) -> bool:
    lower = name.lower()
    if lower.endswith(_VOLUMES) or is_archive(name):
        return True
    suffix = PurePosixPath(lower).suffix
    return suffix in Image.registered_extensions() and suffix not in _DOCUMENTS


def _reason(source: Source, converter: Converter, name: str) -> str:
    if is_archive(name):
        return "archives within the source, which are not opened (unpack these)"
    path = f"{source.path.resolve().name}/{name}"
    for pattern, why in converter.known_rest.items():
        if re.search(pattern, path, re.IGNORECASE):
            return why
    return f"files whose folder or name {converter.name} does not read"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
