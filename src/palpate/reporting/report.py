"""Writes the complete report of a run from its rows."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from palpate.evaluation.medis.rows import medis_lines
from palpate.evaluation.results.examples import Example
from palpate.evaluation.results.kinds import rows_of_images, rows_of_texts
from palpate.evaluation.sanity import Check, sanity_card
from palpate.reporting.acceptance.verdict import Verdict
from palpate.reporting.attacks import Rivals, against_table, strength_table
from palpate.reporting.figures.figures import (
    charts_of,
    strength_charts,
    text_chart,
    write_charts,
    write_panels,
)
from palpate.reporting.figures.strips import Panel, Strip, strips
from palpate.reporting.html.gallery import galleries, thumbnails
from palpate.reporting.html.headline import findings, headline, meanings
from palpate.reporting.html.page import Content, write_page
from palpate.reporting.labels import CONTROL
from palpate.reporting.numbers.checked_rows import RUN, checked, of_fixed_radius
from palpate.reporting.numbers.focus import choose_focus
from palpate.reporting.numbers.summary import summarise
from palpate.reporting.numbers.worst_case import name_attacks, with_worst_case
from palpate.reporting.pdf.document import write_pdf
from palpate.reporting.session import command_of_session
from palpate.reporting.tables.medis_tables import medis_tables
from palpate.reporting.tables.table import Table
from palpate.reporting.tables.text_tables import text_scores, text_tables
from palpate.reporting.tables.write import write_tables
from palpate.version import release


def report(
    rows: pd.DataFrame,
    out: Path | str,
    *,
    baseline: pd.DataFrame | None = None,
    variants: Mapping[str, pd.DataFrame] | None = None,
    texts: pd.DataFrame | None = None,
    medis: pd.DataFrame | None = None,
    examples: Iterable[Example] | None = None,
    sanity: Sequence[Check] | None = None,
    config: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    command: str | None = None,
    evaluations: Sequence[str] = (),
    notes: Mapping[str, str] | None = None,
    against: Rivals | None = None,
    further: Sequence[Table] = (),
    verdict: Verdict | str | None = None,
    about: Mapping[str, str] | None = None,
    rerun: str = "",
    pdf: bool = False,
    title: str = "Robustness of a segmentation model",
) -> Path:
    """Write ``tables/``, ``figures/`` and ``report/index.html`` into a folder.

    Args:
        rows: One row per image, structure, prompt, attack and epsilon, as stored by an evaluation.
        out: Folder of the report, usually the run folder; created if missing. Existing files of
            the same name are replaced.
        baseline: Rows of the model before fine-tuning on the same images; adds a table of the
            gain from fine-tuning.
        variants: Rows of the same images under the protocol with one choice changed, by that
            choice; adds a table of the effect of each choice.
        texts: Rows of attacks on the prompt, if they are not in ``rows``; adds their tables and a
            chart.
        medis: Rows or lines of MedIS, if they are not in ``rows``; see
            :func:`palpate.evaluation.medis_lines`. Adds its tables.
        examples: Stored examples to show; without them the page has no images.
        sanity: The sanity card; None: only the checks that need nothing but rows are run.
        config: Resolved configuration of the run, shown unchanged.
        environment: Versions and hashes; also, as ``command``, the default of ``command``.
        command: The command that makes the report again. None: the one that runs the script of
            this process again, if there is one.
        evaluations: Commands that added rows to the run, in order.
        notes: Licence and citation of each data set, by its name.
        against: For an attack, the attacks to compare it with, image by image; adds a table.
        further: Additional tables, not computed from the rows.
        verdict: Verdict on acceptance criteria, shown first; or why there is none.
        about: Facts for the head of the page, by heading: model, training, data, ...
        rerun: Command that repeats the run, for the sheet of the PDF.
        pdf: Also write ``report/report.pdf``: a sheet for auditors, with the page as annex. Needs
            WeasyPrint.
        title: Heading of the page.

    Returns:
        Path of the page.

    Raises:
        ValueError: If the rows cannot be reported; see
            :func:`palpate.reporting.numbers.checked_rows.checked`.
    """
    given, texts = rows, rows_of_texts(rows) if texts is None else texts
    of_medis = _medis_tables(rows if medis is None else medis)
    everything = checked(rows_of_images(rows))
    with_worst = with_worst_case(everything)
    rows, fixed = of_fixed_radius(everything), of_fixed_radius(with_worst)
    frozen = None if baseline is None else checked(baseline)
    others = {choice: checked(rows_of_images(some)) for choice, some in (variants or {}).items()}
    summary = summarise(with_worst)
    focus = name_attacks(choose_focus(summary.scores), fixed)
    card = sanity_card(everything) if sanity is None else list(sanity)
    panels = strips(examples or (), rows)
    charts = [] if focus is None else list(charts_of(fixed, summary, focus))
    worded = None if texts.empty else checked(texts)
    if worded is not None:
        charts.append(text_chart(text_scores(worded)))
    strengths = strength_table(rows)
    if strengths is not None and focus is not None:
        charts += strength_charts(strengths.numbers, focus)
    compared = (against_table(given, against or {}), strengths)
    more = [
        *further,
        *filter(None, compared),
        *(() if worded is None else text_tables(worded)),
        *of_medis,
    ]
    out = Path(out)
    write_charts(charts, out / "figures")
    write_panels(_without_control(panels), out / "figures")
    found = findings(summary.scores, focus)
    content = Content(
        title=title,
        headline=headline(found, focus, summary.radii, _runs(everything)),
        rows=fixed,
        scores=summary.scores,
        focus=focus,
        findings=found,
        meanings=[] if focus is None else list(meanings(summary, focus)),
        tables=write_tables(
            everything,
            summary,
            out / "tables",
            sanity=card,
            baseline=frozen,
            variants=others,
            further=more,
        ),
        charts=charts,
        galleries=galleries(panels, focus.single if focus else ""),
        thumbnails=thumbnails(panels),
        sanity=card,
        config=config or {},
        environment=environment or {},
        command=_command(command, environment),
        is_run_folder=(out / "config.yaml").is_file(),
        evaluations=evaluations,
        notes=notes or {},
        verdict=verdict,
        about=about or {"palpate": release()},
    )
    page = write_page(content, out / "report" / "index.html")
    if pdf:
        write_pdf(content, summary.sizes, rerun, page)
    return page


def _command(given: str | None, environment: Mapping[str, Any] | None) -> str:
    told = (environment or {}).get("command") if given is None else given
    return command_of_session() if told is None else str(told)


def _runs(rows: pd.DataFrame) -> dict[str, str]:
    """The run of each data set and structure; empty unless the rows are of several runs."""
    return dict(zip(rows["facet"], rows[RUN], strict=True)) if RUN in rows.columns else {}


def _medis_tables(rows: pd.DataFrame) -> Iterator[Table]:
    """Yield the tables of MedIS, one set for each of its entries in the recipe."""
    if "loss_name" not in rows.columns:  # lines, or rows of a version without MedIS
        yield from medis_tables(rows) if "already" in rows.columns and len(rows) else ()
        return
    rows = rows[rows["loss_name"] != ""]
    for name, some in rows.groupby("attack", sort=False):
        for table in medis_tables(medis_lines(some)):
            if len(some) == len(rows):
                yield table
            else:
                ending = re.sub(r"[^\w.-]+", "-", str(name))
                title = f"{table.title} ({name})"
                yield replace(table, name=f"{table.name}-{ending}", title=title)


def _without_control(panels: dict[Panel, list[Strip]]) -> dict[Panel, list[Strip]]:
    """Drop the panels of random noise, unless there are no others."""
    real = {panel: some for panel, some in panels.items() if panel[1] != CONTROL}
    return real or panels
