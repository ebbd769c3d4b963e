"""Masks that are not what a mask should be."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from palpate.data.integrity.finding import Finding, Severity
from palpate.data.integrity.looks import Fault, MaskLook

_BLURRED = 0.02  # of the mask; the edges of a JPEG mask of 256 pixels are below
_COLOURED = 0.001
_FULL = 0.999


def mask_findings(looks: Mapping[Path, MaskLook | Fault], folder: Path) -> Iterator[Finding]:
    """Masks of other sizes, of many values, in colour, empty or full."""
    named = {path.relative_to(folder).as_posix(): look for path, look in looks.items()}
    by_kind: dict[tuple[str, Severity, str], list[str]] = defaultdict(list)
    for name, look in named.items():
        if isinstance(look, MaskLook):
            for kind in _kinds(look):
                by_kind[kind].append(name)
    for (check, severity, message), names in by_kind.items():
        text = message.format(count=len(names), of=len(named))
        yield Finding(check, severity, text, tuple(names))


def _kinds(look: MaskLook) -> Iterator[tuple[str, Severity, str]]:
    yield from _of_size(look)
    if look.coloured > _COLOURED:
        yield (
            "binary", "error",
            "{count} of {of} masks are coloured, and palpate would see their brightness alone; "
            "write one black and white mask per structure.",
        )  # fmt: skip
        return
    yield from _of_values(look)
    if look.share == 0:
        yield "empty", "warning", "{count} of {of} masks are empty; prompts must say so."
    elif look.share > _FULL:
        yield "full", "warning", "{count} of {of} masks cover the whole image."


def _of_size(look: MaskLook) -> Iterator[tuple[str, Severity, str]]:
    if look.on_trust:
        yield (
            "sizes", "warning",
            "{count} masks are turned like their images, which have an EXIF orientation; their "
            "sizes allow that but do not prove it. Look at one.",
        )  # fmt: skip
    elif sorted(look.size) != sorted(look.wanted):
        yield (
            "sizes", "warning",
            "{count} of {of} masks have the proportions of their images but not the size; they "
            "are resized.",
        )  # fmt: skip


def _of_values(look: MaskLook) -> Iterator[tuple[str, Severity, str]]:
    if look.middling > _BLURRED:
        yield (
            "binary", "warning",
            "{count} of {of} masks have more than 2 % of pixels between dark and bright; they are "
            "cut at half range, which may not be what was meant.",
        )  # fmt: skip
    elif look.lossy:
        yield (
            "binary", "note",
            "{count} of {of} masks are compressed with loss and not quite black and white; they "
            "are cut at half range.",
        )  # fmt: skip
    elif look.levels > 2:
        yield (
            "binary", "warning",
            "{count} of {of} masks have more than two values; they are cut at half range.",
        )  # fmt: skip
