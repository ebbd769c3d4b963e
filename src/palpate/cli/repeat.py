"""``palpate rerun`` and ``palpate verify``: repeat a run, and recompute a sample of its rows."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from palpate.cli.json_output import check_target, give
from palpate.cli.progress_bars import show_progress

if TYPE_CHECKING:
    from palpate.pipeline.repeat.opened import Elsewhere


@dataclass(frozen=True)
class DataPlaces:
    """Where the data of the run are now, if not where the run had them."""

    root: Path | None = None
    """Folder that holds the data sets."""
    images: Path | None = None
    """Image folder (`pairs` only)."""
    masks: Path | None = None
    """Mask folder (`pairs` only)."""


@dataclass(frozen=True)
class ModelPlaces:
    """Where the model of the run is now, if not where the run had it."""

    name: str | None = None
    """Name or folder of the model."""
    checkpoint: Path | None = None
    """Folder of the trained weights of the run."""
    device: str | None = None
    """cpu, cuda, cuda:1, ...; by default that of the run."""


def rerun(
    run: tyro.conf.Positional[Path],
    out: Path | None = None,
    keep_checkpoint: bool = False,
    json: Path | None = None,
    data: DataPlaces = DataPlaces(),
    model: ModelPlaces = ModelPlaces(),
) -> None:
    """Repeat a run from its run folder, and compare the rows of both.

    The code is that in the run folder. Data and weights are looked for where the run had them, or
    where the options say, and refused if they are not the same. The exit status is 1 if rows
    differ, 2 if the run cannot be repeated.

    Args:
        run: Run folder; it may have been moved.
        out: Folder of the new run; by default beside the old one, with `-rerun` in its name.
        keep_checkpoint: Attack the trained weights of the run instead of training again.
        json: Print the outcome as JSON, or write it to this file.
        data: Where the data are now.
        model: Where the model is now.
    """
    from palpate.cli.tables.verification import show_verification, verification_values
    from palpate.pipeline.repeat.rerun import rerun as repeat

    check_target(json)
    with show_progress() as progress:
        page, found = repeat(
            run, out, _elsewhere(data, model), keep_checkpoint=keep_checkpoint, progress=progress
        )

    def show() -> None:
        show_verification(found)
        print(page)

    give(lambda: {**verification_values(found), "page": str(page)}, show, json)
    sys.exit(0 if found.passed else 1)


def verify(
    run: tyro.conf.Positional[Path],
    rows: int = 20,
    seed: int = 0,
    json: Path | None = None,
    data: DataPlaces = DataPlaces(),
    model: ModelPlaces = ModelPlaces(),
) -> None:
    """Recompute a random sample of the rows of a run, with its weights and its data.

    Reports for each row whether it is identical, equal within rounding, or different, and whether
    files of the run folder were changed. The exit status is 0 if nothing differs, 1 if a row or a
    file does, 2 if rows cannot be recomputed.

    Args:
        run: Run folder; it may have been moved, and nothing in it is changed.
        rows: Number of rows to recompute; 0 for all.
        seed: Seed of the sample.
        json: Print the outcome as JSON, or write it to this file.
        data: Where the data are now.
        model: Where the model is now.
    """
    from palpate.cli.tables.verification import show_verification, verification_values
    from palpate.pipeline.repeat.verify import verify as check

    check_target(json)
    with show_progress() as progress:
        found = check(run, rows, seed, _elsewhere(data, model), progress)
    give(lambda: verification_values(found), lambda: show_verification(found), json)
    sys.exit(0 if found.passed else 1)


def _elsewhere(data: DataPlaces, model: ModelPlaces) -> "Elsewhere":
    from palpate.pipeline.repeat.opened import Elsewhere

    return Elsewhere(data.root, data.images, data.masks, model.name, model.checkpoint, model.device)
