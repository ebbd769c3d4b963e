"""Checks for invalid and doubtful masks: wrong size, several values, coloured, empty or full."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from palpate.data.integrity.finding import Finding, Severity
from palpate.data.integrity.summaries import Fault, MaskSummary

# Fractions of the pixels of a mask.
_BLURRED = 0.02  # the edges of a JPEG mask of 256 pixels are below this
_COLOURED = 0.001
_FULL = 0.999
_HALF = 0.5  # also of the masks


def mask_findings(summaries: Mapping[Path, MaskSummary | Fault], folder: Path) -> Iterator[Finding]:
    """Find masks with problems of size, values or colour, and empty or full masks."""
    named = {path.relative_to(folder).as_posix(): mask for path, mask in summaries.items()}
    by_kind: dict[tuple[str, Severity, str], list[str]] = defaultdict(list)
    for name, mask in named.items():
        if isinstance(mask, MaskSummary):
            for kind in _kinds(mask):
                by_kind[kind].append(name)
    for (check, severity, message), names in by_kind.items():
        text = message.format(count=len(names), of=len(named))
        yield Finding(check, severity, text, tuple(names))
    yield from _inverted(named)


def _inverted(named: Mapping[str, MaskSummary | Fault]) -> Iterator[Finding]:
    """A structure seldom fills most of the image up to all borders; its background does."""
    masks = {name: mask for name, mask in named.items() if isinstance(mask, MaskSummary)}
    suspect = [n for n, m in masks.items() if _HALF < m.share <= _FULL and m.framed]
    if len(suspect) > _HALF * len(masks):
        text = (
            f"in {len(suspect)} of {len(masks)} masks the foreground covers over half of the image "
            "and touches all borders; if the structure is the dark part, the masks are inverted: "
            "invert them, or say which value is the structure (values 0)."
        )
        yield Finding("inverted", "warning", text, tuple(suspect))


def _kinds(mask: MaskSummary) -> Iterator[tuple[str, Severity, str]]:
    """Check, severity and message template of each problem of a mask."""
    yield from _of_size(mask)
    if mask.coloured > _COLOURED:
        yield (
            "binary", "error",
            "{count} of {of} masks are coloured, and only their brightness would be used; "
            "write one black and white mask per structure.",
        )  # fmt: skip
        return
    yield from _of_values(mask)
    if mask.share == 0:
        yield "empty", "warning", "{count} of {of} masks are empty; prompts must say so."
    elif mask.share > _FULL:
        yield "full", "warning", "{count} of {of} masks cover the whole image."


def _of_size(mask: MaskSummary) -> Iterator[tuple[str, Severity, str]]:
    if mask.on_trust:
        yield (
            "sizes", "warning",
            "{count} masks are turned like their images, which have an EXIF orientation; their "
            "sizes allow that but do not prove it. Check one by eye.",
        )  # fmt: skip
    elif sorted(mask.size) != sorted(mask.wanted):
        yield (
            "sizes", "warning",
            "{count} of {of} masks have the proportions of their images but not the size; they "
            "are resized.",
        )  # fmt: skip


def _of_values(mask: MaskSummary) -> Iterator[tuple[str, Severity, str]]:
    if mask.middling > _BLURRED:
        yield (
            "binary", "warning",
            "{count} of {of} masks have more than 2 % of pixels between dark and bright; they are "
            "thresholded at half range, which may not be what was meant.",
        )  # fmt: skip
    elif mask.lossy:
        yield (
            "binary", "note",
            "{count} of {of} masks are in a lossy format and not quite black and white; they are "
            "thresholded at half range.",
        )  # fmt: skip
    elif mask.levels > 2:
        yield (
            "binary", "warning",
            "{count} of {of} masks have more than two values; they are thresholded at half range.",
        )  # fmt: skip
