"""Repeats a run from its run folder alone, and compares the rows of both."""

from dataclasses import replace
from pathlib import Path

from palpate.models.checkpoints import is_checkpoint
from palpate.pipeline.attacks.plan import make_plan
from palpate.pipeline.recipe.config import RunConfig
from palpate.pipeline.repeat.opened import AS_THEY_WERE, Elsewhere, added_later, check_data, opened
from palpate.pipeline.repeat.verify import Verification, compared_rows
from palpate.pipeline.run.run import evaluate_again, make_report, run
from palpate.pipeline.run_folder.sources import RECIPE, read_sources
from palpate.pipeline.stages import preparation as stages
from palpate.progress import Progress, silent


def rerun(
    folder: Path,
    out: Path | None = None,
    elsewhere: Elsewhere = AS_THEY_WERE,
    *,
    keep_checkpoint: bool = False,
    progress: Progress = silent,
) -> tuple[Path, Verification]:
    """Repeat a run into another folder, with the code, data and settings that it had.

    Args:
        folder: Run folder.
        out: Folder of the new run; by default beside the old one, with ``-rerun`` in its name. A
            second call continues an interrupted one.
        elsewhere: Places of data and weights that are not where the run had them.
        keep_checkpoint: Attack the trained weights of the run instead of training again.
        progress: Called for every step of every stage.

    Returns:
        Path of the page of the new run, and the agreement of its rows with those of the old one.

    Raises:
        FileNotFoundError: If code, data or weights of the run are missing.
        ValueError: If they are not those of the run, or ``out`` is the run itself.
    """
    folder = folder.resolve()
    out = folder.with_name(f"{folder.name}-rerun") if out is None else out.absolute()
    if out.resolve() == folder:
        raise ValueError(f"Expected another folder than the run itself, got {out}.")
    with opened(folder, elsewhere) as config:
        config = replace(config, out=out)
        if keep_checkpoint:
            config = _with_checkpoint(config, folder)
        _check(config, folder)
        page = run(config, progress, folder / RECIPE)
        for attacks, radii in added_later(folder):
            evaluate_again(out, attacks, radii, progress)
            page = make_report(out)
    return page, compared_rows(folder, out, config.evaluate.tau)


def _check(config: RunConfig, folder: Path) -> None:
    """Refuse data and weights that are not those of the run, before anything is computed."""
    splits = stages.load_splits(config, make_plan(config))
    train, val = splits.taught or (splits.seen, None)
    for role, data in (("attacked", splits.attacked), ("train", train), ("val", val)):
        if data is not None:
            check_data(data, role, folder)
    before = read_sources(folder).model.get("weights")
    if before is None or config.model.name is None:
        return
    now = stages.untrained(config, config.model.name).base_hash
    if now != before:
        raise ValueError(
            f"{config.model.name} is not the model of the run in {folder}: its weights have the "
            f"hash {now[:12]}, those of the run {before[:12]}. Name the right one with "
            "--model.name. Nothing was run."
        )


def _with_checkpoint(config: RunConfig, folder: Path) -> RunConfig:
    place = config.model.checkpoint or folder / "checkpoint"
    if not is_checkpoint(place):
        raise FileNotFoundError(
            f"Expected the trained weights of the run in {place}, which is not there. Name the "
            "folder with --model.checkpoint, or let the run train again."
        )
    return replace(config, model=replace(config.model, checkpoint=place))
