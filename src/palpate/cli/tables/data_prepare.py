"""What ``palpate data prepare`` says of a data set, on the standard error stream.

The standard output is the folder alone, for scripts.
"""

import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def plain_warnings() -> Iterator[list[str]]:
    """Print warnings without the line of code that they come from; yields their texts."""
    told: list[str] = []

    def show(
        message: Warning | str,
        category: type[Warning],  # noqa: ARG001
        filename: str,  # noqa: ARG001
        lineno: int,  # noqa: ARG001
        file: TextIO | None = None,  # noqa: ARG001
        line: str | None = None,  # noqa: ARG001
    ) -> None:
        told.append(str(message))
        print(f"warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield told


def print_summary(folder: Path, told: Sequence[str]) -> None:
    """Print the size of each split, and the files left out of which no warning has told."""
    summary = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    counts = ", ".join(f"{split} {count}" for split, count in summary["counts"].items())
    print(f"{summary['images']} images; masks: {counts}", file=sys.stderr)
    for part in summary.get("left_out", []):
        if any(part["reason"] in text for text in told):
            continue
        names = part.get("files", [])
        more = ", ..." if len(names) < part["count"] else ""
        such = f": {', '.join(names)}{more}" if names else ""
        print(f"left out: {part['count']} {part['reason']}{such}", file=sys.stderr)
