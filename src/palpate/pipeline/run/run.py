"""Runs a recipe from start to end: train, attack, score and report."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from palpate.data import PromptedDataset
from palpate.errors import SeveralRunsError
from palpate.evaluation import read_examples, read_rows
from palpate.evaluation.medis.rows import medis_lines, read_lines
from palpate.evaluation.results.kinds import rows_of_texts
from palpate.evaluation.sanity import load_card, sanity_card, save_card
from palpate.models import PixelModel
from palpate.pipeline.attacks.entries import given_by_name, rivals_of, without_rivals
from palpate.pipeline.attacks.plan import Plan, make_plan
from palpate.pipeline.recipe.config import RunConfig
from palpate.pipeline.recipe.reading import plain, read_config
from palpate.pipeline.run.acceptance import (
    check_criteria,
    judge_again,
    judge_run,
    read_criteria_file,
    record_criteria,
    recorded_criteria,
)
from palpate.pipeline.run_folder.about import about_run
from palpate.pipeline.run_folder.folder import (
    measured,
    note_evaluation,
    open_folder,
    read_environment,
    read_evaluations,
    write_environment,
)
from palpate.pipeline.run_folder.sources import (
    keep_model,
    keep_sources,
    read_sources,
    seal,
)
from palpate.pipeline.stages import preparation as stages
from palpate.pipeline.stages.evaluation import OTHER_PROTOCOL, attack_and_score, score_baseline
from palpate.progress import Progress, silent
from palpate.reporting import report
from palpate.reporting.acceptance.verdict import Verdict
from palpate.reporting.html.page import exchange_verdict
from palpate.reporting.pdf.document import PDF, require_weasyprint
from palpate.version import release

# What the page says on how to repeat the run; `rerun` needs nothing but the run folder.
_REPEATED = "palpate rerun .\npalpate verify ."


Checked: TypeAlias = Callable[[RunConfig], None]


def unsaid(config: RunConfig) -> None:
    """Say nothing about a run that is going to start."""
    del config


def run(
    config: RunConfig,
    progress: Progress = silent,
    recipe: Path | None = None,
    checked: Checked = unsaid,
) -> Path:
    """Train, attack, score and report; a second call resumes an interrupted run.

    Args:
        config: The recipe.
        progress: Called for every step of every stage.
        recipe: The file of the recipe, which is copied into the run folder.
        checked: Called once settings and data are checked, before anything is computed.

    Returns:
        Path of the page, ``report/index.html`` in the run folder.

    Raises:
        ValueError, FileNotFoundError, PermissionError, RuntimeError: If the recipe, the data, the
            model or the run folder cannot be used. Raised before the first long computation.
    """
    with _opened(config, recipe, checked) as (plan, splits, folder):
        try:
            model = _trained(config, splits, folder, progress)
            _evaluate(config, plan, model, splits, folder, progress)
        finally:
            seal(folder)
        with measured("report", folder):
            return make_report(folder)


def train_only(
    config: RunConfig,
    progress: Progress = silent,
    recipe: Path | None = None,
    checked: Checked = unsaid,
) -> Path:
    """Only train, the first half of :func:`run`; return the path of the checkpoint."""
    with _opened(config, recipe, checked) as (_, splits, folder):
        _trained(config, splits, folder, progress)
        seal(folder)
        return config.model.checkpoint or folder / "checkpoint"


@contextmanager
def _opened(
    config: RunConfig, recipe: Path | None, checked: Checked
) -> Iterator[tuple[Plan, stages.Splits, Path]]:
    """Check a recipe and its data, then open the run folder and note there what the run uses."""
    plan = make_plan(config)
    splits = stages.load_splits(config, plan)
    check_criteria(config, plan, splits.attacked.cases)
    checked(config)
    with open_folder(config) as folder:
        write_environment(folder)
        record_criteria(config, folder)
        keep_sources(config, splits, folder, recipe)
        yield plan, splits, folder


def _trained(
    config: RunConfig, splits: stages.Splits, folder: Path, progress: Progress
) -> PixelModel:
    """Train the model of a run, and record the weights that it was loaded with."""
    with measured("pretrain", folder):
        stages.base_model(config, progress)
    with measured("train", folder):
        model = stages.tune(config, splits, progress)
    keep_model(model, folder)
    return model


def evaluate_again(
    folder: Path,
    attacks: tuple[str, ...] | None,
    epsilon_255: tuple[float, ...] | None,
    progress: Progress = silent,
    here: RunConfig | None = None,
) -> Path:
    """Attack the model of a run folder again, add the rows, and write the report again.

    Args:
        folder: Run folder.
        attacks: Names of the attacks; None for those of the recipe.
        epsilon_255: Radii, in steps of an 8-bit image; None for those of the recipe.
        progress: Called for every batch.
        here: The recipe with the present places of data and model; by default as it is.

    Returns:
        Path of the page.

    Raises:
        ValueError: If an attack does not exist, or radii in steps of an 8-bit image are given for
            a run under the protocol ``paper``.
        FileNotFoundError: If the folder is not a run folder.
    """
    recipe = replace(config_of(folder), out=folder)
    config = recipe if here is None else replace(here, out=folder)
    other = added(config, attacks, epsilon_255)
    plan = make_plan(other)
    splits = stages.load_splits(other, plan)
    with open_folder(recipe, "copy the folder and evaluate the copy"):
        started = None if here is None else read_sources(folder).working_folder
        keep_sources(other, splits, folder, started=started)
        try:
            model = stages.tune(config, splits, progress)
            note_evaluation(folder, attacks, epsilon_255)
            _evaluate(other, plan, model, splits, folder, progress)
        finally:
            seal(folder)
        with measured("report", folder):
            return make_report(folder)


def added(
    config: RunConfig, attacks: tuple[str, ...] | None, epsilon_255: tuple[float, ...] | None
) -> RunConfig:
    """The settings of a run with other attacks and radii; see :func:`evaluate_again`."""
    wanted, folder = config.evaluate, config.folder
    if epsilon_255 is not None and wanted.protocol == "paper":
        raise ValueError(
            f"Expected no radii in steps of an 8-bit image (--epsilon-255) for {folder}, a run "
            "under the protocol 'paper', whose radii are in units of the normalised image and stay "
            "those of its recipe. For others make a run of its own: palpate run --config "
            f"{folder / 'config.yaml'} --evaluate.epsilon-normalised 0.1 --model.checkpoint "
            f"{folder / 'checkpoint'} --out ELSEWHERE."
        )
    if attacks is not None:
        chosen = given_by_name(attacks, wanted.attacks)
        alone = {name: without_rivals(options) for name, options in chosen.items()}
        wanted = replace(wanted, attacks=alone)
    if epsilon_255 is not None:
        wanted = replace(wanted, epsilon_255=epsilon_255)
    return replace(config, evaluate=wanted)


def gate(folder: Path, criteria: Path | None = None, *, page: bool = False) -> Verdict:
    """Judge a run by acceptance criteria, write ``verdict.json``, and put the verdict on the page.

    Neither model nor data are needed.

    Args:
        folder: Run folder that has rows.
        criteria: File of the criteria; None for those that were recorded before the run, or those
            of the last verdict.
        page: Whether tables, figures and the whole page are written, too. Otherwise only the
            verdict on the page is exchanged, if there is a page.

    Raises:
        FileNotFoundError: If the folder is not a run folder, or there is no such file.
        ValueError: If there are no criteria, or the run lacks what they are about.
    """
    config_of(folder)
    wanted = recorded_criteria(folder) if criteria is None else read_criteria_file(criteria)
    if wanted is None:
        raise ValueError(
            f"{folder} has no acceptance criteria; name a file of criteria with --criteria."
        )
    rows = read_rows(folder / "rows")
    verdict = judge_run(folder, rows, wanted, str(criteria or folder))
    written = folder / "report" / "index.html"
    if page or (written.is_file() and not exchange_verdict(verdict, written)):
        make_report(folder)
    return verdict


def make_report(folder: Path) -> Path:
    """Write tables, figures and page of a run folder; return the path of the page.

    Neither model nor data are needed.
    """
    return _report(folder, pdf=False)


def make_pdf(folder: Path) -> Path:
    """Write tables, figures, page and ``report/report.pdf``; return the path of the PDF.

    Raises:
        RuntimeError: If WeasyPrint or a library that it needs is missing.
    """
    require_weasyprint()
    _report(folder, pdf=True)
    return folder / "report" / PDF


def _report(folder: Path, *, pdf: bool) -> Path:
    config = config_of(folder)
    card, rows = folder / "sanity.json", read_rows(folder / "rows")
    environment = read_environment(folder)
    return report(
        rows,
        folder,
        baseline=_rows_in(folder / "baseline"),
        texts=_texts(rows, folder),
        medis=_medis(rows, folder),
        examples=read_examples(folder / "examples"),
        sanity=load_card(card) if card.is_file() else None,
        config=plain(config),
        environment=environment,
        about=about_run(config, folder, environment),
        rerun=shlex.join(["palpate", "rerun", str(folder)]),
        command=_REPEATED,
        pdf=pdf,
        evaluations=read_evaluations(folder),
        against=rivals_of(config.evaluate.attacks),
        verdict=judge_again(folder, rows),
        title=config.name,
    )


def config_of(folder: Path) -> RunConfig:
    """Read the recipe of a run folder.

    Raises:
        FileNotFoundError: If the folder is not a run folder.
        SeveralRunsError: If it holds run folders, as that of a sweep does.
    """
    if not (folder / "config.yaml").is_file():
        if runs := sorted(path.parent for path in folder.glob("*/config.yaml")):
            raise SeveralRunsError(folder, runs)
        raise FileNotFoundError(
            f"{folder} is not a run folder: it has no config.yaml. Make one with "
            "`palpate run --config recipes/kvasir-quick.yaml`."
        )
    try:
        return read_config(folder / "config.yaml")
    except ValueError as error:
        made_by = (read_environment(folder) or {}).get("packages", {}).get("palpate")
        if made_by in (None, release()):
            raise
        raise ValueError(
            f"{folder} was made by palpate {made_by} and cannot be opened by palpate {release()}, "
            f"which does not know its settings; open it with palpate {made_by}. {error}"
        ) from error


def _evaluate(
    config: RunConfig,
    plan: Plan,
    model: PixelModel,
    splits: stages.Splits,
    folder: Path,
    progress: Progress,
) -> None:
    data = splits.attacked
    with measured("evaluate", folder):
        score_baseline(config, data, progress)
        attack_and_score(config, plan, model, splits, progress)
    if config.evaluate.sanity_samples:
        with measured("sanity", folder):
            _examine(config, model, data, folder, progress)


def _examine(
    config: RunConfig, model: PixelModel, data: PromptedDataset, folder: Path, progress: Progress
) -> None:
    card = sanity_card(
        read_rows(folder / "rows"),  # includes rows of earlier calls, which the card also covers
        model,
        data,
        count=config.evaluate.sanity_samples,
        seed=config.seed,
        precision=config.evaluate.precision,
        out=folder / "examination.json",
        progress=progress,
    )
    save_card(card, folder / "sanity.json")


def _texts(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Rows of attacks on texts, including those in ``texts/``, where older versions stored them."""
    other = _rows_in(folder / OTHER_PROTOCOL)
    new, old = rows_of_texts(rows if other is None else other), _rows_in(folder / "texts")
    if old is None:
        return new
    return pd.concat([new, old[~old["attack"].isin(new["attack"])]], ignore_index=True)


def _medis(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Rows of MedIS, or else the lines in ``medis/``, where older versions stored them."""
    other = _rows_in(folder / OTHER_PROTOCOL)
    rows = rows if other is None else other
    return read_lines(folder / "medis") if medis_lines(rows).empty else rows


def _rows_in(folder: Path) -> pd.DataFrame | None:
    """Read the rows of an optional folder; None if it has none."""
    return read_rows(folder) if any(folder.glob("part-*.parquet")) else None
