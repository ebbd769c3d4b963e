"""``palpate rerun`` and ``palpate verify``: repeat a run, and recompute a sample of its rows."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from palpate.cli.json_output import check_target, give
from palpate.cli.progress_bars import show_progress

Root = Annotated[Path | None, tyro.conf.arg(name="data.root")]
Images = Annotated[Path | None, tyro.conf.arg(name="data.images")]
Masks = Annotated[Path | None, tyro.conf.arg(name="data.masks")]
Model = Annotated[str | None, tyro.conf.arg(name="model.name")]
Checkpoint = Annotated[Path | None, tyro.conf.arg(name="model.checkpoint")]
Device = Annotated[str | None, tyro.conf.arg(name="model.device")]


def rerun(
    run: tyro.conf.Positional[Path],
    out: Path | None = None,
    keep_checkpoint: bool = False,
    json: Path | None = None,
    data_root: Root = None,
    data_images: Images = None,
    data_masks: Masks = None,
    model_name: Model = None,
    model_checkpoint: Checkpoint = None,
    model_device: Device = None,
) -> None:
    """Repeat a run from its run folder alone, and compare the rows of both.

    The code is that in the run folder. Data and weights are looked for where the run had them, or
    where the options say, and refused if they are not the same. The exit status is 1 if rows
    differ, 2 if the run cannot be repeated.

    Args:
        run: Run folder, wherever it lies.
        out: Folder of the new run; by default beside the old one, with `-rerun` in its name.
        keep_checkpoint: Attack the trained weights of the run instead of training again.
        json: Print the outcome as JSON, or write it to this file.
        data_root: Folder that holds the data sets.
        data_images: Image folder (`pairs` only).
        data_masks: Mask folder (`pairs` only).
        model_name: Name or folder of the model.
        model_checkpoint: Folder of the trained weights of the run.
        model_device: cpu, cuda, cuda:1, ...; by default that of the run.
    """
    from palpate.cli.tables.verification import show_verification, verification_values
    from palpate.pipeline.repeat.opened import Elsewhere
    from palpate.pipeline.repeat.rerun import rerun as repeat

    check_target(json)
    places = Elsewhere(
        data_root, data_images, data_masks, model_name, model_checkpoint, model_device
    )
    try:
        with show_progress() as progress:
            page, found = repeat(
                run, out, places, keep_checkpoint=keep_checkpoint, progress=progress
            )
    except (ValueError, OSError, RuntimeError) as error:
        print(f"palpate: {error}", file=sys.stderr)
        sys.exit(2)

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
    data_root: Root = None,
    data_images: Images = None,
    data_masks: Masks = None,
    model_name: Model = None,
    model_checkpoint: Checkpoint = None,
    model_device: Device = None,
) -> None:
    """Recompute a random sample of the rows of a run, with its weights and its data.

    Says of each row whether it is identical, within rounding, or differs, and whether files of the
    run folder were changed. The exit status is 0 if nothing differs, 1 if a row or a file does, 2
    if rows cannot be recomputed.

    Args:
        run: Run folder, wherever it lies; nothing in it is changed.
        rows: Number of rows to recompute; 0 for all.
        seed: Seed of the sample.
        json: Print the outcome as JSON, or write it to this file.
        data_root: Folder that holds the data sets.
        data_images: Image folder (`pairs` only).
        data_masks: Mask folder (`pairs` only).
        model_name: Name or folder of the model.
        model_checkpoint: Folder of the trained weights of the run.
        model_device: cpu, cuda, cuda:1, ...; by default that of the run.
    """
    from palpate.cli.tables.verification import show_verification, verification_values
    from palpate.pipeline.repeat.opened import Elsewhere
    from palpate.pipeline.repeat.verify import verify as check

    check_target(json)
    places = Elsewhere(
        data_root, data_images, data_masks, model_name, model_checkpoint, model_device
    )
    try:
        with show_progress() as progress:
            found = check(run, rows, seed, places, progress)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"palpate: {error}", file=sys.stderr)
        sys.exit(2)
    give(lambda: verification_values(found), lambda: show_verification(found), json)
    sys.exit(0 if found.passed else 1)
